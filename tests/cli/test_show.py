"""`evomerge show`: what became of the candidates, those that racing dropped among them."""

from pathlib import Path
from typing import Any

from evomerge.evolve import evolve

RUN: dict[str, Any] = {
    "name": "raced",
    "seed": 1,
    "genome": {
        "models": ["zoo:reverse", "zoo:sort"],
        "base_model": "zoo:base",
        "merge_method": "task_arithmetic",
        "layer_granularity": 4,
    },
    "items": {"search": 30, "validation": 10, "test": 10},
    "racing": {"alpha": 0.5, "first": 10, "every": 5},
    "search": {"evaluations": 3},
}
JUDGE = """
def judge(recipe, items):
    return [float(recipe["merge_method"] == "passthrough")] * len(items)
"""


def test_candidates_that_were_all_raced_out_are_shown_with_whom_they_lost_to(
    evomerge: Any, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    task = {"name": "whole", "evaluator": "python_function", "subject": "recipe"}
    function = f"{tmp_path / 'judge.py'}:judge"
    tasks = [{**task, "data": "zoo:sort", "function": function}]
    evolve({**RUN, "tasks": tasks}, runs=tmp_path / "runs")
    answer = evomerge("show", "raced")
    assert answer.out.startswith("raced: finished, 0 of 3 candidates done, 3 raced out, 0 failed")
    assert "All were raced out; best by estimate" in answer.out
    row = next(line.split() for line in answer.out.splitlines() if line.startswith("0 "))
    assert row[2:] == ["10", "zoo:base"]
