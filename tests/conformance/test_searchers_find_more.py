"""Every registered searcher beats random search on what it says it is made for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from evomerge.search import SEARCHERS, Searcher
from evomerge.search.base import Kind
from evomerge.search.random import RandomSearch
from evomerge.testing.searchers import check_beats_random
from evomerge.testing.searchers.contest import measure_gain
from evomerge.testing.searchers.problems import PROBLEMS

BASELINES = {"grid", "random"}
"""They are what others are held against, and promise nothing."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {"llm": {"backend": "mock"}}
"""What a searcher cannot do without."""
CASES = [(name, kind) for name in SEARCHERS.names() for kind in sorted(SEARCHERS.get(name).kinds)]


def make(name: str) -> Callable[..., Searcher]:
    return partial(SEARCHERS.get(name), **OPTIONS.get(name, {}))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_searcher_finds_more_than_random_search(name: str, kind: Kind) -> None:
    check_beats_random(make(name), kind)


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_every_searcher_but_the_baselines_is_made_for_something(name: str) -> None:
    assert bool(SEARCHERS.get(name).kinds) is (name not in BASELINES)


@pytest.mark.parametrize("kind", sorted(PROBLEMS))
def test_random_search_of_other_seeds_does_not_pass(kind: Kind) -> None:
    class Reseeded(RandomSearch):
        goals = (1, 3)

        def __init__(self, *arguments: Any, seed: int) -> None:
            super().__init__(*arguments, seed=seed + 100)

    assert all(measure_gain(Reseeded, p) < p.margin / 2 for p in PROBLEMS[kind])
    with pytest.raises(AssertionError, match="of what random search leaves to the optimum"):
        check_beats_random(Reseeded, kind)
