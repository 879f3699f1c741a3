"""CMA-ES: covariance matrix adaptation evolution strategy (Hansen and Ostermeier, 2001).

https://doi.org/10.1162/106365601750190398

The algorithm is the `cmaes` package's; the defaults are those of Akiba et al. (2024): mean 0.5,
step size 1/6, population 4 + ⌊3 ln n⌋.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher

if TYPE_CHECKING:
    from evomerge.types import Genome


class CMA(Searcher):
    """Full-covariance CMA-ES on the unit cube.

    Args:
        dimension: number of genes n.
        seed: of the draws.
        population: genomes per generation; 4 + ⌊3 ln n⌋ if absent; at least 4, of which
            the better half are recombined.
        mean: where every coordinate starts, in [0, 1]; or 'random', each somewhere else.
        sigma: initial step size, in units of the cube's edge.
    """

    def __init__(
        self,
        dimension: int,
        *,
        seed: int = 0,
        population: int | None = None,
        mean: float | Literal["random"] = 0.5,
        sigma: float = 1 / 6,
    ) -> None:
        import cmaes

        super().__init__(dimension, seed=seed)
        if population is not None and (not isinstance(population, int) or population < 4):
            raise ValueError("cma needs a population of at least 4")
        width = max(dimension, 2)  # the package needs two; a lone gene gets an idle companion
        start = np.random.default_rng(seed).random(width)
        if mean != "random":
            start[:] = mean
        if not np.all((start >= 0.0) & (start <= 1.0)) or not 0.0 < sigma <= 10.0:
            raise ValueError("cma needs a mean in [0, 1] and a sigma in (0, 10]")
        self._algorithm = cmaes.CMA(
            mean=start,
            sigma=float(sigma),
            bounds=np.tile([0.0, 1.0], (width, 1)),
            seed=seed % 2**32,
            population_size=population or 4 + math.floor(3 * math.log(width)),
        )
        self.batch = self._algorithm.population_size
        self._points: list[Genome] = []

    def recommend(self) -> "list[Genome]":
        """Return the distribution's mean: less lucky than the best sample."""
        if self._algorithm.generation == 0:
            return []
        return [np.clip(self._algorithm.mean[: self.dimension], 0.0, 1.0)]

    def _ask(self, count: int) -> "list[Genome]":
        self._points = [self._algorithm.ask() for _ in range(count)]
        return [point[: self.dimension] for point in self._points]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        if len(results) != self.batch:
            return  # the budget ended within a generation
        ranks = sorted({result.rank_key for result in results}, reverse=True)
        costs = [float(ranks.index(result.rank_key)) for result in results]  # only order counts
        self._algorithm.tell(list(zip(self._points, costs, strict=True)))
