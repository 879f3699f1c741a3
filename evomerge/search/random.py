"""Random search (Bergstra and Bengio, 2012): independent random points, the honest baseline.

https://www.jmlr.org/papers/v13/bergstra12a.html
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


class RandomSearch(Searcher):
    """Random points of the unit cube: numbers evenly, choices by their chances.

    Args:
        space: the genes.
        seed: of the draws.
        population: genomes per batch, at least 1; results do not influence the next ones.
    """

    kinds = frozenset()

    def __init__(self, space: SearchSpace, *, seed: int = 0, population: int = 16) -> None:
        super().__init__(space, seed=seed)
        self.batch = choose_population("random", population, len(space), least=1)
        self._rng = np.random.default_rng(seed)

    def _ask(self, count: int) -> "list[Genome]":
        shares = self._rng.random((count, self.dimension))
        return [self.space.quantile(row) for row in shares]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Nothing to learn."""
