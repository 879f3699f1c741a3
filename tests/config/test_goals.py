"""Goals and bounds in a run file: how they are read, and what is said of wrong ones."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.config import Bound, name_goals, parse_config, read_bound
from evomerge.config.goals import find_need

Document = Callable[..., dict[str, Any]]
Problems = Callable[[dict[str, Any]], dict[str, str]]
THREE = [
    {"name": name, "evaluator": "exact_match", "data": f"zoo:{name}"}
    for name in ("reverse", "sort", "successor")
]


@pytest.mark.parametrize(
    ("said", "bound", "shown"),
    [
        (0.5, Bound(0.5), "0.5"),
        (1, Bound(1.0), "1"),
        ("parent", Bound(0.0, relative=True), "best parent"),
        ("parent - 0.01", Bound(-0.01, relative=True), "best parent - 0.01"),
        (" parent+.05 ", Bound(0.05, relative=True), "best parent + 0.05"),
    ],
)
def test_bounds_are_read_as_they_are_said(said: float | str, bound: Bound, shown: str) -> None:
    assert read_bound(said) == bound
    assert str(bound) == shown


@settings(deadline=None, max_examples=50)
@given(st.floats(-10, 10).map(lambda x: round(x, 6)))
def test_a_shifted_bound_is_read_back(shift: float) -> None:
    found = read_bound(f"parent {'-' if shift < 0 else '+'} {abs(shift):.6f}")
    assert found == Bound(shift + 0.0, relative=True)


@pytest.mark.parametrize("said", ["parents", "parent 0.1", "parent * 2", "best", "", "parent - x"])
def test_other_words_are_no_bound(said: str) -> None:
    with pytest.raises(ValueError, match="a bound is a number, 'parent' or the like of 'parent - "):
        read_bound(said)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"objectives": ["sort", "revers"]},
            "objectives[1]",
            "the run has no task 'revers' (did you mean 'reverse'?); it has reverse, sort, success",
        ),
        ({"objectives": ["sort", "sort"]}, "objectives[1]", "'sort' stands twice"),
        ({"objectives": ["sort"]}, "objectives", "name two tasks or more; without it the weighted"),
        ({"objectives": "sort"}, "objectives", "should be a valid list"),
        (
            {"constraints": {"srot": 0.5}},
            "constraints.srot",
            "no task 'srot' (did you mean 'sort'?",
        ),
        ({"constraints": {"sort": "parents"}}, "constraints.sort", "not 'parents'"),
        ({"constraints": {"sort": float("inf")}}, "constraints.sort", "a finite number, not inf"),
        ({"constraints": {"sort": True}}, "constraints", "a bound is a number, 'parent' or"),
        (
            {"search": {"algorithm": "nsga2"}, "items": {"batch": 4}},
            "items.batch",
            "candidates of several goals are compared in each of them, on all items; leave it out",
        ),
        (
            {"constraints": {"sort": 0.5}, "items": {"batch": 4}},
            "items.batch",
            "whether a candidate keeps its bounds is told by all items; leave it out",
        ),
        (
            {"search": {"algorithm": "map_elites"}, "items": {"batch": 4}},
            "items.batch",
            "map_elites compares candidates that met every item; leave it out",
        ),
        (
            {"search": {"algorithm": "nsga2"}, "tasks": THREE[:1]},
            "search.algorithm",
            "nsga2 is for 2 goals or more, this run has 1: give the run more tasks, or take a "
            "searcher for one goal such as cma",
        ),
        (
            {"search": {"algorithm": "como_catcma"}},
            "search.algorithm",
            "como_catcma is for 2 goals, this run has 3: name them in `objectives`, or take nsga2",
        ),
        (
            {"tasks": [THREE[0], {**THREE[1], "weight": 0}]},
            "tasks[1].weight",
            "a task without weight counts for nothing; leave it out, or bound it",
        ),
        (
            {"tasks": [{**THREE[1], "weight": 0}], "constraints": {"sort": 0.5}},
            "tasks",
            "no task has a weight, so that there is nothing to search for",
        ),
    ],
)
def test_wrong_goals_and_bounds_are_found(
    changes: dict[str, Any], path: str, message: str, document: Document, problems: Problems
) -> None:
    found = problems(document(**{"tasks": THREE, **changes}))
    assert list(found) == [path] or path == "tasks"
    assert message in found[path]


def test_tasks_of_no_weight_are_bounded_and_no_goals(document: Document) -> None:
    tasks = [*THREE[:2], {**THREE[2], "weight": 0}]
    changes = {"tasks": tasks, "constraints": {"successor": "parent"}}
    config = parse_config(document(search={"algorithm": "nsga2"}, **changes))
    weights = {task.name: task.weight for task in config.tasks}
    assert name_goals(config, weights) == ("reverse", "sort")


@pytest.mark.parametrize(
    ("changes", "goals"),
    [
        ({}, ()),
        ({"objectives": ["sort", "reverse"]}, ("sort", "reverse")),
        ({"search": {"algorithm": "nsga3"}}, ("reverse", "sort", "successor")),
        ({"search": {"algorithm": "nsga2"}, "objectives": ["successor", "sort"]},
         ("successor", "sort")),
    ],
)  # fmt: skip
def test_goals_are_named_or_are_all_tasks_where_the_searcher_is_for_several(
    changes: dict[str, Any], goals: tuple[str, ...], document: Document
) -> None:
    config = parse_config(document(tasks=THREE, **changes))
    assert name_goals(config, {task.name: task.weight for task in config.tasks}) == goals
    assert bool(find_need(config)) == bool(goals)


def test_a_task_that_stands_for_several_is_asked_for_its_names_later(document: Document) -> None:
    suite = {"name": "suite", "evaluator": "suite"}
    parse_config(document(tasks=[suite], constraints={"coding": 0.1}))
