"""Judges that want a folder: there while they look, gone afterwards, whatever they do."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from evomerge.config import parse_config
from evomerge.errors import OutputError
from evomerge.evolve.build import Setup, judges_models, needs_models
from evomerge.evolve.candidate import make_work
from evomerge.evolve.live import exported
from evomerge.recipe import parse_recipe
from evomerge.records import Candidate, Job, Outcome

MakeModel = Callable[..., Path]
JUDGE = """
import json, sys
from pathlib import Path

told = json.load(sys.stdin)
folder = Path(told["folder"])
Path("seen").write_text(str(folder))
assert (folder / "model.safetensors").is_file() and (folder / "config.json").is_file()
BODY
print([1.0] * len(told["items"]))
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary folders are made."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def judged(tmp_path: Path, tiny_llama: MakeModel) -> Callable[[str], Outcome]:
    """Return run(body) -> what became of a merge whose judge does `body` with the folder."""

    def run(body: str) -> Outcome:
        (tmp_path / "judge.py").write_text(JUDGE.replace("BODY", body))
        rows = [{"x": k, "split": s} for k, s in enumerate(("search", "validation", "test"))]
        (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        models = [str(tiny_llama(1)), str(tiny_llama(2))]
        task = {
            "name": "t",
            "evaluator": "command",
            "command": [sys.executable, "judge.py"],
            "data": "items.jsonl",
            "needs": "folder",
            "timeout": 20,
        }
        document = {"genome": {"models": models, "merge_method": "linear"}, "tasks": [task]}
        config = parse_config(document, folder=tmp_path)
        assert config.tasks[0].options["cwd"] == str(tmp_path)
        assert judges_models(config)
        assert not needs_models(config)
        entries = [{"model": model, "parameters": {"weight": 1.0}} for model in models]
        recipe, _ = parse_recipe({"merge_method": "linear", "models": entries})
        job = Job(0, (Candidate("f", recipe),), {"t": (0,)})
        (outcome,) = make_work(Setup(config, "cpu", 1))(job).outcomes
        return outcome

    return run


def test_folder_is_a_complete_model_and_gone_afterwards(
    judged: Callable[[str], Outcome], scratch: Path, tmp_path: Path
) -> None:
    outcome = judged("")
    assert outcome.failure == ""
    assert list(outcome.scores["t"].values()) == [1.0]
    seen = Path((tmp_path / "seen").read_text())
    assert seen.is_relative_to(scratch)
    assert not list(scratch.glob("evomerge-*"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise OSError('no room')", r"ended with exit code 1: OSError: no room"),
        ("(folder / 'model.safetensors').unlink(); print('nonsense')", "is not JSON: 'nonsense"),
        ("folder.parent.joinpath('litter').mkdir(); sys.exit(2)", "ended with exit code 2"),
    ],
)
def test_folder_is_gone_when_the_judge_fails(
    judged: Callable[[str], Outcome], scratch: Path, body: str, reason: str
) -> None:
    assert reason in judged(body).failure
    assert not list(scratch.glob("evomerge-*"))


def test_interrupt_takes_the_folder_along(scratch: Path, tiny_llama: MakeModel) -> None:
    models = [{"model": str(tiny_llama(1))}]
    recipe, _ = parse_recipe({"merge_method": "passthrough", "models": models})

    def interrupt() -> None:
        with exported(recipe) as folder:
            assert folder.is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not list(scratch.glob("evomerge-*"))


def test_disk_that_is_too_small_is_one_line(
    scratch: Path, tiny_llama: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(scratch)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    models = [{"model": str(tiny_llama(1))}]
    recipe, _ = parse_recipe({"merge_method": "passthrough", "models": models})
    with pytest.raises(OutputError, match=r"needs .*, only 1 KB are free there"), exported(recipe):
        pass
    assert not list(scratch.glob("evomerge-*"))
