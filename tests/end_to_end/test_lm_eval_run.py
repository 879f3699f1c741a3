"""Whole runs on lm-eval tasks of one's own."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import StoreError
from evomerge.evolve import evolve, resume
from evomerge.evolve.forecast import Forecast
from evomerge.store import open_store

pytestmark = pytest.mark.slow

TASKS = Path(__file__).parents[1] / "evaluation" / "tasks"
GENOME = {
    "models": ["zoo:sort", "zoo:reverse"],
    "base_model": "zoo:base",
    "merge_method": "task_arithmetic",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the tests' lm-eval tasks, to be changed."""
    return Path(shutil.copytree(TASKS, tmp_path / "lm_eval_tasks"))


def ours(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "letters",
        "genome": GENOME,
        "tasks": [
            {"name": "letters", "weight": 2.0},
            {"name": "sort_words", "metric": "exact_match"},
        ],
        "task_search_path": [str(folder)],
        "search": {"evaluations": 6, "population": 4},
        "executor": {"name": "local", "threads": 1},
        "finalists": 2,
        **changes,
    }


def test_run_on_a_group_and_a_task_of_ones_own(folder: Path, tmp_path: Path) -> None:
    told: list[Forecast] = []
    result = evolve(ours(folder), runs=tmp_path, tell_forecast=told.append)
    assert told[0].notes == (
        "Items without splits, divided into search, validation and test by seeded hash: yes_no, "
        "sort_words.",
    )
    assert set(result.verdict.lines[0].tasks) == {"reverse_choice", "yes_no", "sort_words"}
    assert result.best is not None
    assert (result.best / "model.safetensors").is_file()
    with open_store(result.folder) as store:
        rows = store.candidates("search")
    assert len(rows) == 6
    assert not any(row.error for row in rows)


def test_changed_yaml_is_refused_when_the_run_goes_on(folder: Path, tmp_path: Path) -> None:
    stop = _stop_at_the_forecast
    with pytest.raises(KeyboardInterrupt):
        evolve(ours(folder), runs=tmp_path, tell_forecast=stop)
    yaml = folder / "sort_words.yaml"
    kept = yaml.read_text()
    yaml.write_text(kept.replace("s {{word}}=", "s: {{word}}="))
    with pytest.raises(StoreError, match=r"task sort_words \(its items or its judge\) was changed"):
        resume("letters", runs=tmp_path)
    yaml.write_text(kept)
    assert resume("letters", runs=tmp_path).best is not None


def _stop_at_the_forecast(_: Forecast) -> None:
    raise KeyboardInterrupt
