"""Models measured on the same items: what is used, what is compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evomerge.errors import EvaluationError, EvoMergeException
from evomerge.evolve.comparison import Estimate
from evomerge.evolve.measurement.results_file import write_results
from evomerge.evolve.measurement.side_by_side import SideBySide, measure
from evomerge.statistics import mean_interval, wilson_interval

WriteTasks = Callable[..., str]


def test_every_model_meets_the_same_items_and_gets_an_interval(found: SideBySide) -> None:
    assert [each.model for each in found.overall] == ["zoo:reverse", "zoo:sort"]
    for name, standings in found.by_task.items():
        for standing, model in zip(standings, found.models, strict=True):
            values = list(model.scores[name].values())
            assert len(values) == 30
            assert standing.score == Estimate(float(np.mean(values)), *mean_interval(values))


def test_every_task_is_compared_alone_too(found: SideBySide) -> None:
    for task in found.tasks:
        first, other = found.by_task[task.name]
        assert (first.p_value, first.better_by) == (None, None)
        theirs, ours = (list(m.scores[task.name].values()) for m in found.models)
        assert other.better_by == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert other.won == sum(a > b for a, b in zip(ours, theirs, strict=True))
        assert other.lost == sum(a < b for a, b in zip(ours, theirs, strict=True))
        assert other.p_value is not None
        assert other.p_value < 0.05
    assert found.by_task["sort"][1].won > found.by_task["sort"][1].lost
    assert found.by_task["reverse"][1].won < found.by_task["reverse"][1].lost
    assert found.overall[1].won == sum(models[1].won for models in found.by_task.values())


def test_bad_input_is_found_before_any_model_is_loaded(
    write_tasks: WriteTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evomerge.evolve.measurement import contestants

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(contestants, "load_folder", refuse)
    with pytest.raises(EvoMergeException, match="the zoo has no model"):
        measure(["zoo:sort", "zoo:nobody"], [write_tasks()])
    with pytest.raises(EvoMergeException, match="the zoo has no items 'sorts'"):
        measure(["zoo:sort"], [write_tasks({"name": "x", "evaluator": "exact_match",
                                            "data": "zoo:sorts"})])  # fmt: skip


JUDGE = """
def moody(model, items):
    if "{name}" in str(model.module.config._name_or_path):
        raise RuntimeError("not this one")
    return [0.25] * len(items)
"""


def test_one_model_that_fails_does_not_take_the_others_down(
    write_tasks: WriteTasks, tmp_path: Path
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(JUDGE.format(name="reverse"))
    task = {"name": "mood", "evaluator": "python_function", "data": "zoo:sort"}
    file = write_tasks({**task, "function": f"{judge}:moody"}, items={"test": 8})
    found = measure(["zoo:sort", "zoo:reverse", "zoo:base"], [file])
    assert [bool(model.failure) for model in found.models] == [False, True, False]
    assert "not this one" in found.overall[1].failure
    assert found.overall[2].score == Estimate(0.25, *wilson_interval(0.25, 8))
    assert [doc["model_name"] for doc in write_results(found)] == ["zoo:sort", "zoo:base"]
    with pytest.raises(EvaluationError, match="zoo:reverse: RuntimeError: not this one"):
        measure(["zoo:reverse", "zoo:sort"], [file])


def test_recipes_are_judged_without_a_model(write_tasks: WriteTasks, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def count(recipe, items):\n    return [float(len(recipe['models']))] * len(items)\n"
    )
    task = {"name": "models", "evaluator": "python_function", "data": "zoo:sort"}
    file = write_tasks({**task, "function": f"{judge}:count", "subject": "recipe"})
    found = measure(["zoo:sort", "ties"], [file], limit=3)
    assert [each.score and each.score.mean for each in found.overall] == [1.0, 3.0]


def test_the_harness_own_scorer_gives_the_same_table(options: dict[str, Any]) -> None:
    tables = [
        measure(["zoo:sort"], ["sort_words", "yes_no"], options={**options, "scorer": scorer})
        for scorer in ("own", "harness")
    ]
    assert tables[0].by_task == tables[1].by_task
