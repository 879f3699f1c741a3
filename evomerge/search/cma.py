"""CMA-ES: covariance matrix adaptation evolution strategy (Hansen and Ostermeier, 2001).

https://doi.org/10.1162/106365601750190398

The algorithm is the `cmaes` package's; the defaults are those of Akiba et al. (2024): mean 0.5,
step size 1/6, population 4 + ⌊3 ln n⌋.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population, rank
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


class CMA(Searcher):
    """Full-covariance CMA-ES on the unit cube.

    Args:
        space: the genes, of which those with choices share [0, 1] in equal parts.
        seed: of the draws.
        population: genomes per generation; 4 + ⌊3 ln n⌋ if absent; at least 4, of which
            the better half are recombined.
        mean: where every coordinate starts, in [0, 1]; or 'random', each somewhere else; if
            absent where the genes say, and 0.5 where they do not.
        sigma: initial step size, in units of the cube's edge.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        mean: float | Literal["random"] | None = None,
        sigma: float = 1 / 6,
    ) -> None:
        import cmaes

        super().__init__(space, seed=seed)
        width = max(len(space), 2)  # the package needs two; a lone gene gets an idle companion
        self.batch = choose_population("cma", population, width)
        start = np.full(width, 0.5)
        if mean == "random":
            start = np.random.default_rng(seed).random(width)
        else:
            start[: len(space)] = space.start() if mean is None else mean
        if not np.all((start >= 0.0) & (start <= 1.0)) or not 0.0 < sigma <= 10.0:
            raise ValueError("cma needs a mean in [0, 1] and a sigma in (0, 10]")
        self._algorithm = cmaes.CMA(
            mean=start,
            sigma=float(sigma),
            bounds=np.tile([0.0, 1.0], (width, 1)),
            seed=seed % 2**32,
            population_size=self.batch,
        )
        self._points: list[Genome] = []

    def recommend(self) -> "list[Genome]":
        """Return the distribution's mean: less lucky than the best sample."""
        if self._algorithm.generation == 0:
            return []
        return [self.space.settle(self._algorithm.mean[: self.dimension])]

    def _ask(self, count: int) -> "list[Genome]":
        self._points = [self._algorithm.ask() for _ in range(count)]
        return [point[: self.dimension] for point in self._points]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        if len(results) != self.batch:
            return  # the budget ended within a generation
        self._algorithm.tell(list(zip(self._points, rank(results), strict=True)))
