"""Searchers that keep an archive: descriptors, ranges and items that cannot be are told at once."""

from collections.abc import Callable
from typing import Any

import pytest

from evomerge.config import parse_config

Document = Callable[..., dict[str, Any]]
Problems = Callable[[dict[str, Any]], dict[str, str]]
TASK = {"evaluator": "exact_match", "data": "zoo:sort"}
TASKS = [{"name": "arithmetic", **TASK}, {"name": "sort", **TASK}]
GRID = {"algorithm": "map_elites"}
CYCLE = {"algorithm": "cycle_qd"}


@pytest.mark.parametrize(
    ("search", "path", "message"),
    [
        (
            {"descriptors": ["arithmetics"]},
            "descriptors[0]",
            "no task is called 'arithmetics' (did",
        ),
        ({"descriptors": ["x"]}, "descriptors[0]", "called 'x'; known: arithmetic, sort"),
        ({"descriptors": ["sort", "sort/mean_token"]}, "descriptors[1]", "mean 'mean_tokens'?"),
        (
            {"descriptors": ["sort/"]},
            "descriptors[0]",
            "no audit measures ''; known: answers, mean",
        ),
        ({"descriptors": ["sorts/empty"]}, "descriptors[0]", "no task is called 'sorts' (did you"),
        ({"descriptors": ["sort", "sort"]}, "descriptors", "a descriptor stands twice"),
        ({"descriptors": "sort"}, "descriptors", "input should be a valid list"),
        (
            {"descriptors": ["sort"], "ranges": [[0, 1], [0, 1]]},
            "ranges",
            "for each of sort: 1, not",
        ),
        ({"ranges": [[0, 1]]}, "ranges", "expected one for each of arithmetic, sort: 2, not 1"),
        ({"descriptor": ["sort"]}, "descriptor", "did you mean 'descriptors'"),
        ({**CYCLE, "ranges": [[0, 1]]}, "ranges", "expected one for each of arithmetic, sort: 2"),
    ],
)
def test_descriptors_and_ranges_are_checked_before_anything_runs(
    search: dict[str, Any], path: str, message: str, document: Document, problems: Problems
) -> None:
    found = problems(document(tasks=TASKS, search={**GRID, **search}))
    assert message in found[f"search.{path}"]


def test_measures_of_an_audit_and_scores_of_tasks_are_descriptors(document: Document) -> None:
    descriptors = ["arithmetic", "sort/mean_tokens", "sort/truncated"]
    options = {**GRID, "descriptors": descriptors, "ranges": [[0.0, 1.0], [0, 16], [0.0, 0.5]]}
    config = parse_config(document(tasks=TASKS, search=options))
    assert config.search.options["descriptors"] == descriptors


@pytest.mark.parametrize(
    ("genome", "key", "message"),
    [
        ({"models": ["a"]}, "models", "expected at least two founders, the base among them"),
        ({"models": ["a"], "base_model": "a"}, "models", "expected at least two founders"),
        ({"merge_method": "linear"}, "merge_method", "it seeks the part of every founder"),
        ({"ranges": {"weight": [0.0, 1.0]}}, "ranges", "it seeks the part of every founder"),
        ({"repeats": 2}, "repeats", "`space: ancestry` has no such setting"),
    ],
)
def test_settings_that_an_ancestry_lacks_are_told(
    genome: dict[str, Any], key: str, message: str, document: Document, problems: Problems
) -> None:
    made = document()
    made["genome"] = {"space": "ancestry", "models": ["a", "b"], **genome}
    assert message in problems(made)[f"genome.{key}"]


def test_ancestry_takes_its_own_settings(document: Document) -> None:
    made = document()
    made["genome"] = {
        "space": "ancestry", "models": ["a"], "base_model": "b", "layer_granularity": 2,
        "own_embeddings": False, "dtype": "bfloat16", "tokenizer_source": "base",
    }  # fmt: skip
    genome = parse_config(made).genome
    assert not genome.merges
    assert not genome.has_paths
    assert not genome.in_stages


def test_a_task_that_only_bounds_is_no_axis_of_cycle_qd(
    document: Document, problems: Problems
) -> None:
    tasks = [*TASKS, {"name": "short", "weight": 0.0, **TASK}]
    made = document(tasks=tasks, constraints={"short": 0.2})
    parse_config(made | {"search": {**CYCLE, "ranges": [[0, 1], [0, 1]]}})
    found = problems(made | {"search": {**CYCLE, "ranges": [[0, 1]] * 3}})
    assert found["search.ranges"] == "expected one for each of arithmetic, sort: 2, not 3"
