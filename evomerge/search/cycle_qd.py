"""CycleQD: quality diversity with goals that take turns (Kuroki et al., 2024).

https://arxiv.org/abs/2410.14735

Every goal has an archive, in which it is the quality and the other goals are the behaviour. The
archives take turns as the one that parents are drawn from; every child is offered to all of them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.records import Evaluated, Origin
from evomerge.search.archive import Cell, find_ranges, read_ranges, sort_in
from evomerge.search.base import MANY, Kind, Searcher
from evomerge.search.variation import first_points, mutate
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

LEAST, SPAN = 0.5, 0.8
"""Weight of the worst elite, and what the best has more, as a factor per goal."""
UNEVEN = 0.01
"""Standard deviation of the parents' parts in a child, around equal ones."""


class CycleQD(Searcher):
    """One archive per goal, of which each takes its turn.

    A child is the mean of two parents, in nearly equal parts (so in the weights of a merge it is
    the merge of both); of choices it has one parent's. Then it is mutated: where the merge method
    is svd_task_arithmetic, by another svd_seed in some layer group, too.

    Args:
        space: the genes.
        seed: of the draws.
        bins: cells of each goal, in the archives of the others.
        ranges: (low, high) of each goal, in their order; what was seen so far, if absent.
        sigma: standard deviation of a mutation's steps, in units of the cube's edge.
        batch: children of one archive's turn, at least 1.
        first: points to begin with, at least 2, where the space knows none.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"multi_objective"})
    goals: ClassVar[tuple[int, int]] = (2, MANY)

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        bins: int = 10,
        ranges: list[list[float]] | None = None,
        sigma: float = 0.3,
        batch: int = 8,
        first: int = 16,
    ) -> None:
        super().__init__(space, seed=seed)
        if bins < 1 or batch < 1 or first < 2 or not 0.0 < sigma <= 10.0:
            raise ValueError(
                "cycle_qd needs bins and a batch of at least 1, at least 2 first points, and a "
                "sigma in (0, 10]"
            )
        self.batch = batch
        self._bins, self._ranges, self._sigma = bins, read_ranges("cycle_qd", ranges), sigma
        self._rng = np.random.default_rng(seed)
        self._first = first_points(space, first, self._rng)
        self._points: list[Genome] = []
        self._goals: list[tuple[float, ...]] = []
        self._violations: list[float] = []
        self._places: list[int] = []
        self._archives: list[dict[Cell, int]] = []
        self._turn = 0

    def elites(self) -> list[tuple[int, str]]:
        """Return who is in an archive, and in which cells of which."""
        why: dict[int, list[str]] = {}
        for goal, archive in enumerate(self._archives):
            for cell, row in archive.items():
                told = f"goal {goal + 1}, cell {' '.join(map(str, cell))}"
                why.setdefault(self._places[row], []).append(told)
        return [(place, "; ".join(told)) for place, told in sorted(why.items())]

    def _ask(self, count: int) -> "list[Genome]":
        points = []
        for place in range(self.asked, self.asked + count):
            if place < len(self._first):
                how, point = self._first[place]
                self._born.append(Origin(how))
            else:
                point = self._breed()
            points.append(point)
        self._turn += 1
        return points

    def _tell(self, results: Sequence[Evaluated]) -> None:
        first = self.told - len(results)
        for place, result in enumerate(results, first):
            if result.standing == 2:
                self._points.append(result.genome)
                self._goals.append(result.objectives)
                self._violations.append(result.violation)
                self._places.append(place)
        if self._points:
            self._archives = [self._fill(goal) for goal in range(len(self._goals[0]))]

    def _fill(self, goal: int) -> dict[Cell, int]:
        """Return the archive of one goal: cell of the others -> row."""
        seen = np.array(self._goals)
        quality = np.column_stack([-np.array(self._violations), seen[:, goal]])
        others = [k for k in range(seen.shape[1]) if k != goal]
        ranges = self._ranges or find_ranges(seen)
        return sort_in(quality, seen[:, others], [ranges[k] for k in others], self._bins)

    def _breed(self) -> "Genome":
        if not self._archives:  # all that was tried has failed
            self._born.append(Origin("mutant"))
            return mutate(self.space, self.space.start(), self._sigma, self._rng)
        active = self._archives[self._turn % len(self._archives)]
        parents = self._choose_parents(list(active.values()))
        parts = self._rng.normal(1.0, UNEVEN, len(parents))
        points = np.array([self._points[row] for row in parents])
        lots = self._rng.integers(len(parents), size=len(self.space))
        chosen = points[lots, np.arange(len(self.space))]
        blended = (parts / parts.sum()) @ points
        child = np.where(self.space.choosing, chosen, blended)
        how = "merger" if len(parents) > 1 else "mutant"
        self._born.append(Origin(how, tuple(self._places[row] for row in parents)))
        return mutate(self.space, child, self._sigma, self._rng)

    def _choose_parents(self, elites: list[int]) -> list[int]:
        """Draw two different ones, in proportion to the product of their weights by each goal."""
        seen = np.array([self._goals[row] for row in elites])
        span = np.ptp(seen, axis=0)
        shares = (seen - seen.min(axis=0)) / np.where(span > 0.0, span, 1.0)
        weights = (LEAST + SPAN * shares).prod(axis=1)
        count = min(2, len(elites))
        drawn = self._rng.choice(len(elites), count, replace=False, p=weights / weights.sum())
        return [elites[k] for k in drawn]
