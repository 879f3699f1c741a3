"""Every registered searcher keeps the contract; the suite notices one that does not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.testing.searchers import check_searcher

if TYPE_CHECKING:
    from evomerge.types import Genome


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_searcher_keeps_the_contract(name: str) -> None:
    check_searcher(SEARCHERS.get(name))


class Forgetful(Searcher):
    """Draws from a generator that no seed reaches."""

    def _ask(self, count: int) -> "list[Genome]":
        return list(np.random.default_rng().random((count, self.dimension)))

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


class Stingy(Searcher):
    """Proposes nothing."""

    def _ask(self, count: int) -> "list[Genome]":  # noqa: ARG002 - that is its fault
        return []

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


class Unsettled(Forgetful):
    """Writes one candidate in two ways."""

    def ask(self, count: int | None = None) -> "list[Genome]":
        return [point * 0.999 for point in super().ask(count)]


class Loud(Searcher):
    """Draws from a generator that all share."""

    def _ask(self, count: int) -> "list[Genome]":
        np.random.seed(self.seed)  # noqa: NPY002 - that is its fault
        return list(np.random.random((count, self.dimension)))  # noqa: NPY002 - likewise

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


class Proud(Searcher):
    """Takes a failure for the best."""

    def _ask(self, count: int) -> "list[Genome]":
        return [self.space.start() for _ in range(count)]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        self.best = max(results, key=lambda result: result.objectives)


@pytest.mark.parametrize(
    ("faulty", "promise"),
    [
        (Forgetful, "a replayed search asks for the same genomes"),
        (Stingy, "ask gives as many genomes as it is asked for"),
        (Loud, "no global generator is drawn from or seeded"),
        (Proud, "a failed candidate is never the best"),
        (Unsettled, "what decodes alike is an equal genome"),
    ],
)
def test_suite_notices_a_broken_promise(faulty: type[Searcher], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_searcher(faulty)
