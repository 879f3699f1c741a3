"""MAP-Elites: the best of every kind (Mouret and Clune, 2015).

https://arxiv.org/abs/1504.04909

What a kind is, descriptors say: a task's score, or a measure of the answers, such as their length.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.errors import EvaluationError
from evomerge.records import Evaluated, Origin
from evomerge.registry import suggest
from evomerge.search.archive import Cell, find_ranges, read_ranges, sort_in
from evomerge.search.base import Kind, Searcher
from evomerge.search.variation import first_points, mutate
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


class MAPElites(Searcher):
    """A grid over descriptors; each cell keeps its best, and any of them may have a mutant.

    Args:
        space: the genes.
        seed: of the draws.
        descriptors: names of tasks, or 'task/measure' for a measure of the answers to a task, such
            as 'gsm8k/mean_tokens'; the scores of all tasks, if absent.
        grid: parts into which each descriptor's range is cut.
        ranges: (low, high) of each descriptor, in their order; what was seen so far, if absent.
        sigma: standard deviation of a mutation's steps, in units of the cube's edge.
        batch: mutants that are asked for together, at least 1.
        first: points to begin with, at least 2, where the space knows none.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"continuous", "mixed"})
    looks_at_items: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        descriptors: list[str] | None = None,
        grid: int = 10,
        ranges: list[list[float]] | None = None,
        sigma: float = 0.1,
        batch: int = 8,
        first: int = 16,
    ) -> None:
        super().__init__(space, seed=seed)
        if grid < 1 or batch < 1 or first < 2 or not 0.0 < sigma <= 10.0:
            raise ValueError(
                "map_elites needs a grid and a batch of at least 1, at least 2 first points, and a "
                "sigma in (0, 10]"
            )
        self.batch = batch
        self._descriptors = descriptors
        self._grid, self._sigma = grid, sigma
        self._ranges = read_ranges("map_elites", ranges)
        if self._ranges and descriptors and len(self._ranges) != len(descriptors):
            told = f"{len(descriptors)} ranges, one for each descriptor, not {len(self._ranges)}"
            raise ValueError(f"map_elites needs {told}")
        self._rng = np.random.default_rng(seed)
        self._first = first_points(space, first, self._rng)
        self._told: list[tuple[int, Evaluated]] = []
        self._cells: dict[Cell, int] = {}

    def elites(self) -> list[tuple[int, str]]:
        """Return the best of every cell, and what it was kept for."""
        return [(self._told[row][0], self._describe(row)) for row in self._cells.values()]

    def _ask(self, count: int) -> "list[Genome]":
        return [self._propose(place) for place in range(self.asked, self.asked + count)]

    def _propose(self, place: int) -> "Genome":
        if place < len(self._first):
            how, point = self._first[place]
            self._born.append(Origin(how))
            return point
        rows = list(self._cells.values())
        born, parent = Origin("mutant"), self.space.start()
        if rows:
            asked, result = self._told[rows[self._rng.integers(len(rows))]]
            born, parent = Origin("mutant", (asked,)), result.genome
        self._born.append(born)
        return mutate(self.space, parent, self._sigma, self._rng)

    def _tell(self, results: Sequence[Evaluated]) -> None:
        first = self.told - len(results)
        told = [(place, r) for place, r in enumerate(results, first) if r.standing == 2]
        if not told:
            return
        if self._descriptors is None:
            self._descriptors = [name for name in told[0][1].measures if "/" not in name]
        self._told += told
        behaviour = np.array([self._measure(result) for _, result in self._told], ndmin=2)
        quality = np.array([result.rank_key for _, result in self._told])
        ranges = self._ranges or find_ranges(behaviour)
        self._cells = sort_in(quality, behaviour, ranges, self._grid)

    def _measure(self, result: Evaluated) -> list[float]:
        assert self._descriptors is not None
        for name in self._descriptors:
            if name not in result.measures:
                known = sorted(result.measures)
                told = f"nothing measures the descriptor {name!r}{suggest(name, known)}"
                raise EvaluationError(told, f"Measured: {', '.join(known)}")
        return [result.measures[name] for name in self._descriptors]

    def _describe(self, row: int) -> str:
        result = self._told[row][1]
        names = self._descriptors or []
        told = (f"{name} {result.measures[name]:.3g}" for name in names)
        return f"best with {', '.join(told)}" if names else "best"
