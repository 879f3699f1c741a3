"""Bad input to searches for paths and to paths: told at once, before any model is loaded."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evomerge.recipe import write_yaml

MakeModel = Callable[..., Path]
Run = Callable[..., Any]
Refuse = Callable[..., str]
HUGE = 10**9


@pytest.fixture
def refuse(
    evomerge: Run, tiny_llama: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Refuse:
    """Return refuse(**genome) -> what both `validate` and `evolve` say is wrong with a run."""
    splits = ("search", "validation", "test")
    rows = [{"x": f"{split} {k}", "split": split} for split in splits for k in (1, 2)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(
        "def judge(model, items):\n    return [0.5 for _ in items]\n"
    )
    task = {"name": "t", "evaluator": "python_function", "function": "judge.py:judge"}

    def act(**genome: Any) -> str:
        genome = {"space": "data_flow", "models": [str(tiny_llama(k)) for k in (1, 2)], **genome}
        run = {
            "genome": genome,
            "tasks": [task | {"data": "items.jsonl"}],
            "search": {"algorithm": "random", "evaluations": 8},
            "executor": {"name": "local"},
        }
        (tmp_path / "run.yml").write_text(write_yaml(run))
        with nothing_loaded(monkeypatch):
            told = [evomerge(verb, "run.yml") for verb in ("validate", "evolve")]
        assert [answer.code for answer in told] == [2, 2], told[0].error
        assert told[0].error == told[1].error
        assert not list(tmp_path.rglob("store.db"))
        message: str = told[0].error
        return message

    return act


@contextmanager
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise where a model is made, or all weights of a file are read."""
    from transformers import PreTrainedModel

    from evomerge.evolve import prepare

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a model is loaded")

    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedModel, "__init__", fail)
        patch.setattr(prepare, "find_nonfinite", fail)
        yield


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        ({"shortest": 5, "longest": 4}, "genome.longest: 4 is less than `shortest`, 5: no path"),
        ({"longest": 1}, "genome.longest: a path has at least 2 layers: its two ends"),
        ({"most_distinct": 1}, "genome.most_distinct: a path has at least 2 layers"),
        ({"shortest": HUGE}, "genome.shortest: expected a number from 1 to 4 (the least of"),
        ({"scale_range": [0, 1.5]}, "scale_range: expected 0 < low <= 1 <= high, not [0, 1.5]"),
        ({"scale_range": [1.1, 1.5]}, "scale_range: expected 0 < low <= 1 <= high, not [1.1,"),
        ({"scale_range": [0.5, 0.9]}, "scale_range: expected 0 < low <= 1 <= high, not [0.5, 0.9]"),
        ({"scale_range": [math.nan, 1.5]}, "scale_range: expected 0 < low <= 1 <= high, not [nan,"),
        ({"scale_range": [0.5, math.inf]}, "scale_range: expected 0 < low <= 1 <= high, not [0.5,"),
        ({"scale_range": [0.5, "much"]}, "genome.scale_range[1]: input should be a valid number"),
        ({"scale_grid": []}, "genome.scale_grid: expected at least two different numbers > 0"),
        ({"scale_grid": [1.0, 0.0]}, "genome.scale_grid: expected at least two different numbers"),
        ({"repeats": 0}, "genome.repeats: input should be greater than or equal to 1"),
        ({"repeats": -3}, "genome.repeats: input should be greater than or equal to 1"),
        ({"repeats": HUGE}, "genome.repeats: 1,000,000,000 repeats of 8 layers are 8,000,000,000"),
        ({"repeats": HUGE, "slots": 8 * HUGE}, "genome.repeats: 1,000,000,000 repeats of 8"),
        ({"slots": 0}, "genome.slots: input should be greater than or equal to 1"),
        ({"slots": HUGE}, "genome.slots: 1 repeat of 8 layers are 8 slots, not 1000000000"),
        ({"repeats": 2, "slots": 12}, "genome.slots: 2 repeats of 8 layers are 16 slots, not 12"),
        ({"space": "depth_wise", "together": HUGE}, "genome.together: expected a number from 1"),
        ({"models": []}, "genome.models: list should have at least 1 item"),
        ({"models": ["zoo:sort", "zoo:sort"]}, "genome.models: a model stands twice: leave one of"),
        ({"space": "depth_wise", "models": ["zoo:sort"]}, "genome.models: expected at least two"),
    ],
)
def test_settings_that_no_path_satisfies(
    genome: dict[str, Any], message: str, refuse: Refuse
) -> None:
    told = refuse(**genome)
    assert message in told
    assert "1 problem in this run file" in told


@pytest.mark.parametrize("space", ["data_flow", "depth_wise", "both", "joint"])
@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ({"hidden_size": 64}, "hidden_size 32"),
        ({"num_key_value_heads": 2}, "num_key_value_heads 4"),
    ],
)
def test_models_of_another_shape_are_named_and_pointed_to_another_way(
    space: str, shape: dict[str, int], field: str, refuse: Refuse, tiny_llama: MakeModel
) -> None:
    merge = {"merge_method": "linear"} if space in ("both", "joint") else {}
    first, second = (str(tiny_llama(1, **changes)) for changes in ({}, shape))
    told = refuse(space=space, models=[first, second], **merge)
    assert f"genome.models: {first} has {field} and {second} has " in told
    assert "cross-domain merging carries over what fits" in told


def test_models_of_one_layer_leave_something_to_search_or_say_that_they_do_not(
    refuse: Refuse, tiny_llama: MakeModel
) -> None:
    models = [str(tiny_llama(k, num_hidden_layers=1)) for k in (1, 2)]
    assert "expected models with layers, and more than one layer" in refuse(models=models[:1])
    told = refuse(models=models, space="depth_wise")
    assert "there is nothing to search: every layer of the first model is an end" in told


def test_one_folder_under_two_names_is_one_model(refuse: Refuse, tiny_llama: MakeModel) -> None:
    folder = tiny_llama(1)
    told = refuse(models=[str(folder), f"{folder}/../{folder.name}"])
    assert told.rstrip().endswith("are the same model")


@pytest.mark.parametrize(
    ("first", "second", "target", "message"),
    [
        ([0, 9], 1.0, "stream", "slices[0].sources[0].layer_range: [0, 9] goes beyond"),
        ([0, HUGE], 1.0, "stream", "slices[0].sources[0].layer_range: [0, 1000000000] goes beyond"),
        ([-1, 2], 1.0, "stream", "slices[0].sources[0].layer_range: [-1, 2] holds no layer"),
        ([2, 2], 1.0, "stream", "slices[0].sources[0].layer_range: [2, 2] holds no layer"),
        ([0, 2], 0.0, "stream", "slices[1].input_scale: the stream's scale must be > 0, not 0"),
        ([0, 2], -0.5, "stream", "slices[1].input_scale: the stream's scale must be > 0, not -0.5"),
        ([0, 2], math.nan, "stream", "slices[1].input_scale: expected a finite number, not nan"),
        ([0, 2], math.inf, "stream", "slices[1].input_scale: expected a finite number, not inf"),
        ([0, 2], math.inf, "delta", "slices[1].input_scale: expected a finite number, not inf"),
        ([0, 2], "half", "stream", "slices[1].input_scale: input should be a valid number"),
        ([0, 2], 0.5, "residual", "input_scale_target: input should be 'stream' or 'delta'"),
    ],
)
def test_paths_that_cannot_be(
    first: list[int],
    second: object,
    target: str,
    message: str,
    evomerge: Run,
    tiny_llama: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(tiny_llama(1))
    slices = [
        {"sources": [{"model": model, "layer_range": first}]},
        {"sources": [{"model": model, "layer_range": [2, 4]}], "input_scale": second},
    ]
    recipe = {"merge_method": "passthrough", "slices": slices, "input_scale_target": target}
    (tmp_path / "path.yml").write_text(write_yaml(recipe))
    for verb in (["validate", "path.yml"], ["merge", "path.yml", "out"]):
        with nothing_loaded(monkeypatch):
            answer = evomerge(*verb)
        assert answer.code == 2
        assert message in answer.error
    assert not (tmp_path / "out").exists()


def test_path_without_slices(evomerge: Run, tmp_path: Path) -> None:
    (tmp_path / "path.yml").write_text("merge_method: passthrough\nslices: []\n")
    assert "slices: list should have at least 1 item" in evomerge("validate", "path.yml").error
