"""Every registered searcher keeps the contract; the suite notices one that does not."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evomerge.records import Evaluated, Origin
from evomerge.search import SEARCHERS, Searcher
from evomerge.testing.searchers import check_searcher

if TYPE_CHECKING:
    from evomerge.types import Genome

OPTIONS: Mapping[str, Mapping[str, Any]] = {"llm": {"backend": "mock"}}
"""What a searcher cannot do without."""


def make(name: str) -> Callable[..., Searcher]:
    return partial(SEARCHERS.get(name), **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_searcher_keeps_the_contract(name: str) -> None:
    check_searcher(make(name))


class Forgetful(Searcher):
    """Draws from a generator that no seed reaches."""

    def _ask(self, count: int) -> "list[Genome]":
        return list(np.random.default_rng().random((count, self.dimension)))

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


class Drawing(Searcher):
    """Draws as it should, and learns nothing: others err in one thing each."""

    goals = (1, 3)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rng = np.random.default_rng(self.seed)
        self.batch = 4

    def _ask(self, count: int) -> "list[Genome]":
        return list(self.rng.random((count, self.dimension)))

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


class Stingy(Drawing):
    """Proposes nothing."""

    def _ask(self, count: int) -> "list[Genome]":  # noqa: ARG002 - that is its fault
        return []


class Unsettled(Drawing):
    """Writes one candidate in two ways."""

    def ask(self, count: int | None = None) -> "list[Genome]":
        return [point * 0.999 for point in super().ask(count)]


class Loud(Drawing):
    """Draws from a generator that all share."""

    def _ask(self, count: int) -> "list[Genome]":
        np.random.seed(self.seed)  # noqa: NPY002 - that is its fault
        return list(np.random.random((count, self.dimension)))  # noqa: NPY002 - likewise


class Proud(Drawing):
    """Takes a failure for the best."""

    def _tell(self, results: Sequence[Evaluated]) -> None:
        self.best = max(results, key=lambda result: result.objectives)


class Clinging(Drawing):
    """Knows a result by the very object that it asked for, which no store gives back."""

    def _ask(self, count: int) -> "list[Genome]":
        self.mine = super()._ask(count)
        return self.mine

    def ask(self, count: int | None = None) -> "list[Genome]":
        super().ask(count)
        self.mine = [self.space.settle(point) for point in self.mine]
        return self.mine

    def _tell(self, results: Sequence[Evaluated]) -> None:
        known = [any(result.genome is point for point in self.mine) for result in results]
        self.rng = np.random.default_rng(sum(known) + self.told)


class Shortsighted(Drawing):
    """Knows of one goal, and takes the first of several for it."""

    goals = (1, 1)

    def _tell(self, results: Sequence[Evaluated]) -> None:
        self.rng = np.random.default_rng(int(1e6 * abs(np.nan_to_num(results[0].objectives[0]))))


class Unborn(Drawing):
    """Has children before their parents."""

    def _ask(self, count: int) -> "list[Genome]":
        self._born = [Origin("child", (self.asked + k + 1,)) for k in range(count)]
        return super()._ask(count)


class Sentimental(Drawing):
    """Keeps everybody, failures too."""

    def elites(self) -> list[tuple[int, str]]:
        return [(place, "it was here") for place in range(self.asked)]


class Boasting(Drawing):
    """Is made for what nobody knows."""

    kinds = frozenset({"everything"})  # type: ignore[assignment,arg-type]  # that is its fault


class Miscounting(Drawing):
    """Does not notice what it asks for again."""

    def ask(self, count: int | None = None) -> "list[Genome]":
        genomes = super().ask(count)
        self.duplicates = 0
        return genomes


class Lenient(Drawing):
    """Has no eye for bounds."""

    def _tell(self, results: Sequence[Evaluated]) -> None:
        sound = [result for result in results if result.standing]
        best = max(sound, key=lambda result: result.violation, default=None)
        self.best = best if best and best.violation else self.best


@pytest.mark.parametrize(
    ("faulty", "promise"),
    [
        (Boasting, "kinds are among"),
        (Clinging, "a replayed search asks for the same genomes"),
        (Forgetful, "a replayed search asks for the same genomes"),
        (Lenient, "the best is what ranks first"),
        (Loud, "no global generator is drawn from or seeded"),
        (Miscounting, "duplicates are counted"),
        (Proud, "a failed candidate is never the best"),
        (Sentimental, "a failed candidate is never among the elites"),
        (Shortsighted, "who knows of one goal takes several as their mean"),
        (Stingy, "ask gives as many genomes as it is asked for"),
        (Unborn, "parents are places in the order of asking, before their child"),
        (Unsettled, "what decodes alike is an equal genome"),
    ],
)
def test_suite_notices_a_broken_promise(faulty: type[Searcher], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_searcher(faulty)


def test_suite_finds_no_fault_with_who_only_draws() -> None:
    check_searcher(Drawing)
