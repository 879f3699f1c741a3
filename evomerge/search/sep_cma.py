"""Separable CMA-ES (Ros and Hansen, 2008): a variance for every gene, no covariances.

https://doi.org/10.1007/978-3-540-87700-4_30

The algorithm is the `cmaes` package's. Its time is linear in the number of genes, so it can search
a whole matrix of scales. Choices are encoded as data-flow space was first searched (Akiba et al.,
2024): by thresholds on a normal coordinate.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population, rank
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

NORMAL = NormalDist()


class SepCMA(Searcher):
    """Separable CMA-ES; a choice is where a coordinate lies between thresholds.

    All coordinates begin as standard normal ones. A number's is stretched by `sigma` about its
    start; the thresholds of a gene with choices are where its chances say, so that the first
    generation draws each as likely as it shall be. A gene without effect is told at the
    distribution's mean.

    Args:
        space: the genes.
        seed: of the draws.
        population: genomes per generation, at least 4; 4 + ⌊3 ln n⌋ if absent.
        sigma: initial step size of numbers, in units of the cube's edge.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        sigma: float = 1 / 6,
    ) -> None:
        import cmaes

        super().__init__(space, seed=seed)
        width = max(len(space), 2)  # the package needs two; a lone gene gets an idle companion
        self.batch = choose_population("sep_cma", population, width)
        if not 0.0 < sigma <= 10.0:
            raise ValueError("sep_cma needs a sigma in (0, 10]")
        self._sigma, self._start = sigma, space.start()
        self._algorithm = cmaes.SepCMA(
            mean=np.zeros(width), sigma=1.0, seed=seed % 2**32, population_size=self.batch
        )
        self._points: list[Genome] = []

    def recommend(self) -> "list[Genome]":
        """Return the distribution's mean: less lucky than the best sample."""
        if self._algorithm.generation == 0:
            return []
        return [self.space.settle(self._place(self._algorithm.mean))]

    def _ask(self, count: int) -> "list[Genome]":
        self._points = [self._algorithm.ask() for _ in range(count)]
        return [self._place(point) for point in self._points]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        if len(results) != self.batch:
            return  # the budget ended within a generation
        points = [self._disarm(point) for point in self._points]
        self._algorithm.tell(list(zip(points, rank(results), strict=True)))

    def _place(self, point: "Genome") -> "Genome":
        """Return the point of the unit cube for one of normal coordinates."""
        own = point[: self.dimension]
        numbers = self._start + self._sigma * own
        shares = [
            NORMAL.cdf(x) if c else 0.0 for x, c in zip(own, self.space.choosing, strict=True)
        ]
        choices = self.space.quantile(np.array(shares))
        return self.space.clip(np.where(self.space.choosing, choices, numbers))

    def _disarm(self, point: "Genome") -> "Genome":
        """Put what has no effect at the mean, where it moves nothing, and numbers into bounds."""
        placed, told = self._place(point), point.copy()
        own = told[: self.dimension]  # a view
        own[:] = np.where(self.space.choosing, own, (placed - self._start) / self._sigma)
        idle = ~self.space.effective(placed)
        own[idle] = self._algorithm.mean[: self.dimension][idle]
        return told
