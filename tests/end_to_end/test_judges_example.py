"""The example of judges of one's own is a run that works."""

import shutil
from pathlib import Path

import pytest

from evomerge.config import load_config
from evomerge.config.settings import ExecutorSettings
from evomerge.evolve import evolve
from evomerge.store import open_store

EXAMPLE = Path(__file__).parents[2] / "examples" / "judges"


@pytest.mark.slow
def test_example_of_judges_runs_from_wherever_it_lies(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "judges"))
    config = load_config(folder / "evolve.yml")
    config.items.search = config.items.validation = config.items.test = 6
    config.search.evaluations = 4
    config.executor = ExecutorSettings(name="local", threads=1, device="cpu")
    config.finalists = 1
    result = evolve(config, runs=tmp_path)
    with open_store(result.folder) as store:
        candidates = store.candidates()
    assert not [candidate.error for candidate in candidates if candidate.error]
    winner, *others = result.verdict.lines
    assert set(winner.tasks) == {"confidence", "closeness", "size"}
    sorts = next(line for line in others if line.label == "zoo:sort")
    assert sorts.tasks["closeness"].mean > 0.9
    assert winner.tasks["size"].mean == pytest.approx(1.575, abs=0.01)
    assert result.verdict.untested == ("size",)
