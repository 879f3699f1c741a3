"""Spaces to search, and a loop that spends a budget as a run does."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pytest

from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Objective: TypeAlias = "Callable[[Genome], float]"
Spend: TypeAlias = "Callable[[Searcher, int, Objective], list[Genome]]"


def told(points: "Sequence[Genome]", objective: Objective) -> list[Evaluated]:
    return [Evaluated(point, (objective(point),)) for point in points]


@pytest.fixture(scope="session")
def spend() -> Spend:
    """Run a search as the loop does; the last batch is what the budget leaves."""

    def run(searcher: Searcher, evaluations: int, objective: Objective) -> "list[Genome]":
        asked: list[Genome] = []
        while searcher.asked < evaluations:
            points = searcher.ask(min(searcher.batch, evaluations - searcher.asked))
            searcher.tell(told(points, objective))
            asked += points
        return asked

    return run


@pytest.fixture(scope="session")
def switches() -> SearchSpace:
    """Ten switches, each with a number that counts only where it is on."""
    genes = [Gene(f"use {k}", choices=(False, True), chances=(0.7, 0.3)) for k in range(10)]
    numbers = [Gene(f"scale {k}", 0.5, 1.5, start=1.0, needs=f"use {k}") for k in range(10)]
    return SearchSpace(genes + numbers)
