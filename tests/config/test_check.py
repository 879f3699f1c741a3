"""Every check of a run file has its message and its place."""

from collections.abc import Callable
from typing import Any

import pytest

from evomerge.config import parse_config

Document = Callable[..., dict[str, Any]]
Problems = Callable[[dict[str, Any]], dict[str, str]]
TASK = {"name": "a", "evaluator": "exact_match", "data": "x"}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"genome": {"merge_method": "tise"}},
            "genome.merge_method",
            "unknown merge method 'tise' (did you mean 'ties'?)",
        ),
        ({"genome": {"merge_method": "ties"}}, "genome.base_model", "ties needs a base model"),
        ({"genome": {"models": ["a", "a"]}}, "genome.models", "a model stands twice"),
        (
            {"genome": {"models": ["a", "b", "c"], "base_model": "a", "merge_method": "slerp"}},
            "genome.models",
            "besides a base",
        ),
        (
            {"genome": {"parameters": {"normalise": True}}},
            "genome.parameters.normalise",
            "linear has no such parameter (did you mean 'normalize'?)",
        ),
        (
            {
                "genome": {
                    "merge_method": "task_arithmetic",
                    "base_model": "b",
                    "parameters": {"nonsense": 1},
                }
            },
            "genome.parameters.nonsense",
            "task_arithmetic has no such parameter",
        ),
        (
            {"genome": {"layer_granularity": -1}},
            "genome.layer_granularity",
            "greater than or equal to 0",
        ),
        ({"genome": {"models": []}}, "genome.models", "at least 1 item"),
        (
            {"genome": {"ranges": {"normalise": [True, False]}}},
            "genome.ranges.normalise",
            "linear has no parameter 'normalise' (did you mean 'normalize'?)",
        ),
        (
            {"genome": {"ranges": {"weight": [0.9, 0.1]}}},
            "genome.ranges.weight",
            "low must be < high",
        ),
        (
            {"genome": {"ranges": {"normalize": [True, "perhaps"]}}},
            "genome.ranges.normalize",
            "normalize must be true or false, not 'perhaps'",
        ),
        (
            {"genome": {"normalize": True, "ranges": {"normalize": [True, False]}}},
            "genome.ranges.normalize",
            "normalize has a fixed value, too: leave one of them out",
        ),
        ({"genome": {"dtype": "int4"}}, "genome.dtype", "'float32', 'float16' or 'bfloat16'"),
        ({"tasks": []}, "tasks", "at least 1 item"),
        (
            {"tasks": [{**TASK, "evaluator": "exact_macth"}]},
            "tasks[0].evaluator",
            "unknown evaluator 'exact_macth' (did you mean 'exact_match'?)",
        ),
        (
            {"tasks": [{**TASK, "stopp": "y"}]},
            "tasks[0].stopp",
            "unknown key 'stopp' (did you mean 'stop'?)",
        ),
        (
            {"tasks": [{**TASK, "evaluator": "python_function"}]},
            "tasks[0].function",
            "field required",
        ),
        (
            {"tasks": [{**TASK, "weight": 0}]},
            "tasks[0].weight",
            "a task without weight counts for nothing; leave it out",
        ),
        (
            {"tasks": [{**TASK, "weight": float("inf")}]},
            "tasks[0].weight",
            "should be a finite number",
        ),
        (
            {"tasks": [{**TASK, "weight": float("nan")}]},
            "tasks[0].weight",
            "should be a finite number",
        ),
        (
            {"tasks": [{**TASK, "weight": 2e6}]},
            "tasks[0].weight",
            "less than or equal to 1000000",
        ),
        (
            {"search": {"algorithm": "cam"}},
            "search.algorithm",
            "unknown searcher 'cam' (did you mean 'cma'?)",
        ),
        ({"search": {"sigam": 1}}, "search.sigam", "unknown key 'sigam' (did you mean 'sigma'?)"),
        ({"search": {"seed": 1}}, "search.seed", "unknown key 'seed'"),
        ({"search": {"evaluations": 0}}, "search.evaluations", "greater than or equal to 1"),
        (
            {"executor": {"name": "locla"}},
            "executor.name",
            "unknown executor 'locla' (did you mean 'local'?)",
        ),
        ({"executor": {"workers": 0}}, "executor.workers", "greater than or equal to 1"),
        ({"items": {"serch": 3}}, "items.serch", "unknown key 'serch' (did you mean 'search'?)"),
        ({"finalists": 0}, "finalists", "greater than or equal to 1"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"name": "a/b"}, "name", "a run's name names its folder; 'a/b' cannot"),
        ({"shuffle": True}, "shuffle", "items are always drawn by seed; leave it out"),
        (
            {"random_init": True, "search": {"algorithm": "random"}},
            "random_init",
            "random has no starting point that could be drawn",
        ),
        (
            {"num_fewshot": 0},
            "num_fewshot",
            "no task of this run has such an option",
        ),
        ({"scorer": "harness"}, "scorer", "no task of this run has such an option"),
        ({"task_search_path": ["mine"]}, "task_search_path", "no task of this run has such"),
        ({"nmae": "x"}, "nmae", "unknown key 'nmae' (did you mean 'name'?)"),
    ],
)
def test_problem_is_told_with_its_place(
    document: Document, problems: Problems, changes: Any, path: str, message: str
) -> None:
    found = problems(document(**changes))
    assert message in found[path]


def test_options_of_all_tasks_may_be_those_of_one(document: Document) -> None:
    tasks = [TASK, {"name": "arc_easy"}]
    config = parse_config(document(tasks=tasks, num_fewshot=2, scorer="harness"))
    assert (config.num_fewshot, config.scorer) == (2, "harness")


def test_two_tasks_of_one_name_are_refused(document: Document, problems: Problems) -> None:
    task = {"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}
    assert problems(document(tasks=[task, task])) == {"tasks[1].name": "two tasks are called 'a'"}


@pytest.mark.parametrize("missing", ["genome", "tasks"])
def test_what_is_required_is_missed(document: Document, problems: Problems, missing: str) -> None:
    whole = document()
    del whole[missing]
    assert problems(whole) == {missing: "field required"}


@pytest.mark.parametrize("value", ["no", "false", 0, None])
def test_yes_and_no_are_no_booleans(document: Document, problems: Problems, value: Any) -> None:
    """YAML 1.1's `no` is text here, and text is true in Python: it must not turn a metric round."""
    task = {**TASK, "evaluator": "exact_match", "ignore_case": value}
    message = problems(document(tasks=[task]))["tasks[0].ignore_case"]
    assert "valid boolean" in message


def test_only_the_base_is_nothing_to_merge(document: Document, problems: Problems) -> None:
    genome = {"models": ["zoo:base"], "base_model": "zoo:base", "merge_method": "linear"}
    found = problems(document(genome=genome))
    assert "no model besides the base" in found["genome.models"]
