"""Judges that want a folder: there while they look, gone afterwards, whatever they do."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import dynamic_module_utils

from evomerge.checkpoints.locate import locate
from evomerge.config import parse_config
from evomerge.errors import OutputError
from evomerge.evolve.build import Setup, judges_models, needs_models
from evomerge.evolve.candidate import make_work
from evomerge.evolve.live import exported
from evomerge.evolve.live_paths import LivePaths
from evomerge.recipe import Hop, make_path, parse_recipe
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


LOOK = """
import torch
from evomerge.evolve.live import load_folder


def judge(subject, items):
    model = load_folder(subject, "cpu", "float32")
    with torch.inference_mode():
        logits = model.module(torch.tensor([[3, 9, 4, 7]])).logits
    return [float(logits[0, -1, item["x"]]) for item in items]
"""


@pytest.mark.parametrize("scale", [1.0, 1.25])
@pytest.mark.parametrize("exportable", [True, False])
def test_folder_is_in_the_form_in_which_the_winner_is_written(
    exportable: bool, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    (tmp_path / "look.py").write_text(LOOK)
    splits = ["search"] * 4 + ["validation", "test"]
    rows = [{"x": k, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = []
    for name, epsilon in (("sort", 0.0), ("reverse", 0.0 if exportable else 0.5)):
        shutil.copytree(locate(f"zoo:{name}"), folder := tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": epsilon}))
        models.append(str(folder))
    task = {
        "name": "t",
        "evaluator": "python_function",
        "function": f"{tmp_path / 'look.py'}:judge",
        "subject": "folder",
        "data": str(tmp_path / "items.jsonl"),
    }
    genome = {"space": "data_flow", "models": models, "exportable": exportable}
    setup = Setup(parse_config({"genome": genome, "tasks": [task]}), "cpu", 1)
    hops = [(models[0], 0, 1.0), (models[1], 1, scale), (models[1], 2, 1.0), (models[0], 3, 1.0)]
    path = make_path([Hop(*hop) for hop in hops], dtype="float32")
    (outcome,) = make_work(setup)(Job(0, (Candidate("f", path),), {"t": (0, 1, 2, 3)})).outcomes
    assert outcome.failure == ""
    passed = {
        m: parse_recipe({"merge_method": "passthrough", "models": [{"model": m}]})[0]
        for m in models
    }
    live = LivePaths(passed, "cpu", "float32").gather([path]).member(0)
    with torch.inference_mode():
        logits = live.module(torch.tensor([[3, 9, 4, 7]])).logits[0, -1, :4]
    found = sorted(outcome.scores["t"].values())  # items are asked in an order of their own
    assert found == pytest.approx(sorted(logits.tolist()), rel=1e-4)


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
