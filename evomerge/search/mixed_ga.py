"""Mixed (μ+λ) genetic algorithm (after Mühlenbein and Schlierkamp-Voosen, 1993).

https://doi.org/10.1162/evco.1993.1.1.25

Choices change to other choices, numbers by steps of many sizes; both cross over gene by gene.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population
from evomerge.search.variation import draw_near_start
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

MOST_CHANGES = 3
"""Genes that a mutation changes: 1 to so many."""
FINEST = 6.0
"""The finest step of a number is 2^-FINEST of the coarsest."""


class MixedGA(Searcher):
    """Genetic algorithm with as many parents as children, of which the best survive.

    The first generation holds the space's start, and draws around it. A gene without effect is
    inherited in silence: it comes back when a mutation gives it effect again. Scores of different
    generations are compared, so all of them should meet the same items.

    Args:
        space: the genes.
        seed: of the draws.
        population: parents, and children per generation; at least 4.
        crossover: share of children that have two parents.
        sigma: coarsest step of numbers, in units of the cube's edge.
    """

    kinds = frozenset({"continuous", "mixed"})

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 20,
        crossover: float = 0.5,
        sigma: float = 1 / 6,
    ) -> None:
        super().__init__(space, seed=seed)
        self.batch = choose_population("mixed_ga", population, len(space))
        if not 0.0 <= crossover <= 1.0 or not 0.0 < sigma <= 10.0:
            raise ValueError("mixed_ga needs a crossover in [0, 1] and a sigma in (0, 10]")
        self._crossover, self._sigma = crossover, sigma
        self._rng = np.random.default_rng(seed)
        self._points: list[Genome] = []
        self._parents: list[tuple[Genome, Evaluated]] = []

    def recommend(self) -> "list[Genome]":
        """Return what parents agree on: the commonest choices, the mean of numbers in effect."""
        if not self._parents:
            return []
        points = np.array([point for point, _ in self._parents])
        effective = np.array([self.space.effective(point) for point in points])
        weights = effective + 1e-9 * ~effective.any(axis=0)
        means = np.average(points, axis=0, weights=weights)
        settled = np.array([self.space.settle(point) for point in points])
        commonest = [Counter(column).most_common(1)[0][0] for column in settled.T]
        return [self.space.settle(np.where(self.space.choosing, commonest, means))]

    def _ask(self, count: int) -> "list[Genome]":
        if self._parents:
            self._points = [self._breed() for _ in range(count)]
        else:
            rest = range(count - 1)
            drawn = [draw_near_start(self.space, self._sigma, self._rng) for _ in rest]
            self._points = [self.space.settle(self.space.start()), *drawn]
        return self._points

    def _tell(self, results: Sequence[Evaluated]) -> None:
        children = list(zip(self._points, results, strict=True))
        distinct: dict[bytes, tuple[Genome, Evaluated]] = {}
        for point, result in sorted(children + self._parents, key=_fitness, reverse=True):
            distinct.setdefault(result.genome.tobytes(), (point, result))  # of equals, the young
        self._parents = list(distinct.values())[: self.batch]

    def _breed(self) -> "Genome":
        child = self._choose_parent().copy()
        if self._rng.random() < self._crossover:
            child = np.where(self._rng.random(self.dimension) < 0.5, child, self._choose_parent())
        for _ in range(self._rng.integers(1, MOST_CHANGES + 1)):
            self._mutate(child)
        return child

    def _choose_parent(self) -> "Genome":
        """Return the better of two parents drawn by lot; they stand in order."""
        place = int(self._rng.integers(len(self._parents), size=2).min())
        point, _ = self._parents[place]
        return point

    def _mutate(self, point: "Genome") -> None:
        """Change one gene in effect: a choice or a number, as likely where there are both."""
        effective = self.space.effective(point)
        kinds = [effective & self.space.choosing, effective & ~self.space.choosing]
        kinds = [kind for kind in kinds if kind.any()]
        index = self._rng.choice(np.flatnonzero(kinds[self._rng.integers(len(kinds))]))
        size = len(self.space.genes[index].choices)
        if size:
            point[index] = (point[index] + self._rng.integers(1, size) / size) % 1.0
        else:
            step = self._sigma * 2.0 ** (-FINEST * self._rng.random())
            point[index] = np.clip(point[index] + step * self._rng.standard_normal(), 0.0, 1.0)


def _fitness(member: "tuple[Genome, Evaluated]") -> tuple[float, ...]:
    return member[1].rank_key
