"""Gaussian hill climbing with two step sizes: around the best so far, near after an improvement.

The baseline of Lange et al. (2024), https://arxiv.org/abs/2402.18381, with the rule by which
LLM-Evo-Merge chooses its step: a small one after a generation that improved on the best, a large
one after any other. https://github.com/kwon13/LLM-Evo-Merge
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


class HillClimbing(Searcher):
    """Normal draws around the mean of the best so far.

    A gene with choices has the mean's choice, or with the probability `sigma` one that is drawn by
    its chances. The first generation holds the space's start, and draws around it.

    Args:
        space: the genes.
        seed: of the draws.
        population: genomes per generation, at least 2; 4 + ⌊3 ln n⌋ if absent.
        max_generation: so many generations are drawn at most; as many as the budget gives, if
            absent.
        sigma_low: step size after a generation that improved on the best, in units of the cube's
            edge.
        sigma_high: step size after any other generation, and in the first.
        parents: so many of the best so far make up the mean.
    """

    kinds = frozenset({"continuous", "mixed"})
    name: ClassVar[str] = "hill_climbing"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        max_generation: int | None = None,
        sigma_low: float = 0.05,
        sigma_high: float = 0.2,
        parents: int = 1,
    ) -> None:
        super().__init__(space, seed=seed)
        self.batch = choose_population(self.name, population, len(space), least=2)
        if not 0.0 < sigma_low <= sigma_high <= 1.0:
            raise ValueError("expected 0 < sigma_low <= sigma_high <= 1")
        if parents < 1 or (max_generation is not None and max_generation < 1):
            raise ValueError("parents and max_generation must be at least 1")
        self._sigmas, self._sigma = (sigma_high, sigma_low), sigma_high
        self._most, self._parents = max_generation, parents
        self._rng = np.random.default_rng(seed)
        self._mean = space.start()
        self._elite: list[Evaluated] = []
        self._leader: Evaluated | None = None
        self._generation = 0

    @property
    def finished(self) -> bool:
        """Whether all generations were drawn."""
        return self._most is not None and self._generation >= self._most

    def recommend(self) -> "list[Genome]":
        """Return the mean of the latest generation."""
        return [self.space.settle(self._mean)] if self._leader else []

    def _ask(self, count: int) -> "list[Genome]":
        if self._elite:
            self._mean = self._propose()
        self._generation += 1
        points = [self._draw() for _ in range(count)]
        if self._generation == 1:
            points[:1] = [self._mean]
        return points

    def _tell(self, results: Sequence[Evaluated]) -> None:
        improved = self._leader is not None and self.best is not self._leader
        self._sigma = self._sigmas[improved]
        self._leader = self.best
        standing = [result for result in results if result.standing]
        self._elite = sorted([*standing, *self._elite], key=merit, reverse=True)[: self._parents]

    def _propose(self) -> "Genome":
        """Return the mean of the next generation."""
        return self._average()

    def _average(self) -> "Genome":
        """Return what the best agree on: the mean of numbers in effect, the commonest choices."""
        points = np.array([result.genome for result in self._elite])
        effective = np.array([self.space.effective(point) for point in points])
        means = np.average(points, axis=0, weights=effective + 1e-9 * ~effective.any(axis=0))
        commonest = [Counter(column).most_common(1)[0][0] for column in points.T]
        return self.space.clip(np.where(self.space.choosing, commonest, means))

    def _draw(self) -> "Genome":
        numbers = self._mean + self._sigma * self._rng.standard_normal(self.dimension)
        drawn = self.space.quantile(self._rng.random(self.dimension))
        changed = self._rng.random(self.dimension) < self._sigma
        choices = np.where(changed, drawn, self._mean)
        return self.space.clip(np.where(self.space.choosing, choices, numbers))


def merit(result: Evaluated) -> tuple[float, ...]:
    """Return by what results are sorted, worst to best."""
    return result.rank_key
