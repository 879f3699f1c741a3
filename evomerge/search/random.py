"""Random search (Bergstra and Bengio, 2012): independent uniform points, the honest baseline.

https://www.jmlr.org/papers/v13/bergstra12a.html
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher

if TYPE_CHECKING:
    from evomerge.types import Genome


class RandomSearch(Searcher):
    """Uniform points of the unit cube.

    Args:
        dimension: number of genes.
        seed: of the draws.
        population: genomes per batch, at least 1; results do not influence the next ones.
    """

    def __init__(self, dimension: int, *, seed: int = 0, population: int = 16) -> None:
        super().__init__(dimension, seed=seed)
        if not isinstance(population, int) or population < 1:
            raise ValueError("random needs a population of at least 1")
        self.batch = population
        self._rng = np.random.default_rng(seed)

    def _ask(self, count: int) -> "list[Genome]":
        return list(self._rng.random((count, self.dimension)))

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Nothing to learn."""
