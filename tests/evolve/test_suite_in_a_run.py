"""The built-in suite and MGSM as tasks of a run file."""

import json
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig
from evomerge.errors import EvaluationError
from evomerge.evaluation.suite import Suite
from evomerge.evolve.tasks import build_tasks

GENOME = {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"}


def config(*tasks: dict[str, Any], **more: Any) -> RunConfig:
    return RunConfig.model_validate({"genome": GENOME, "tasks": list(tasks), **more})


def test_the_suite_becomes_seven_tasks_that_share_its_weight() -> None:
    whole = {"name": "suite", "evaluator": "suite", "weight": 2.0}
    tasks = build_tasks(config(whole, items={"search": 5}))
    assert {task.name: task.weight for task in tasks} == {
        name: 2.0 * share for name, share in Suite.parts("suite", {}).items()
    }
    assert {task.name: task.direction for task in tasks if task.direction < 0} == {
        "perplexity": -1.0
    }
    assert all(len(task.items["search"]) == 5 for task in tasks)
    assert len({task.key for task in tasks}) == 7


def test_one_part_can_be_asked_for_alone_and_by_another_name() -> None:
    tasks = build_tasks(
        config(
            {"name": "coherence", "evaluator": "suite"},
            {"name": "quiz", "evaluator": "suite", "part": "zero_shot_qa"},
        )
    )
    assert [(task.name, task.weight) for task in tasks] == [("coherence", 1.0), ("quiz", 1.0)]


def test_the_same_part_twice_is_refused() -> None:
    twice = ({"name": "suite", "evaluator": "suite"}, {"name": "coding", "evaluator": "suite"})
    with pytest.raises(EvaluationError, match="coding"):
        build_tasks(config(*twice))


def test_mgsm_searches_on_translated_training_items_and_tests_on_its_own(tmp_path: Path) -> None:
    for split, first in (("search", 0), ("validation", 100)):
        rows = [
            json.dumps({"question": f"問題{first + k}", "answer": f"だから、\n#### {k}"})
            for k in range(20)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    lines = [f"問題{200 + k}\t{k},000" for k in range(1, 20)]
    (tmp_path / "mgsm_ja.tsv").write_text("\n".join(lines), encoding="utf-8")
    data = {
        "search": str(tmp_path / "search.jsonl"),
        "validation": str(tmp_path / "validation.jsonl"),
        "test": str(tmp_path / "mgsm_ja.tsv"),
    }
    (task,) = build_tasks(config({"name": "math", "evaluator": "mgsm", "data": data}))
    asked = {split: {i.fields["question"] for i in items} for split, items in task.items.items()}
    assert not asked["search"] & asked["test"]
    assert len(asked["test"]) == 19
    with (tmp_path / "search.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps({"question": "問題201", "answer_number": 1000}))
    with pytest.raises(EvaluationError, match="1 items stand in both search and test"):
        build_tasks(config({"name": "math", "evaluator": "mgsm", "data": data}))
