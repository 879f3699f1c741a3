"""Grid search: every point of a grid once, the honest baseline where genes are few.

Bergstra and Bengio, 2012 (https://www.jmlr.org/papers/v13/bergstra12a.html) say when it is not.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

MOST = 1_000_000
"""Points of a grid."""
BATCH = 16


class GridSearch(Searcher):
    """All points of a grid over the unit cube, both ends included, in an order drawn by seed.

    A budget short of the grid so meets a fair sample of it; a longer one begins again.

    Args:
        space: the genes; of one with choices every choice is tried.
        seed: of the order.
        steps: points along each number, at least 2; a million points in all at most.
    """

    kinds = frozenset()

    def __init__(self, space: SearchSpace, *, seed: int = 0, steps: int = 7) -> None:
        super().__init__(space, seed=seed)
        if not isinstance(steps, int) or steps < 2:
            raise ValueError("grid needs at least 2 steps")
        self._sizes = tuple(len(gene.choices) or steps for gene in space.genes)
        points = math.prod(self._sizes)
        if points > MOST:
            raise ValueError(
                f"a grid of {steps} steps has too many points with {self.dimension} genes; take "
                "fewer of either, or another algorithm"
            )
        self.batch = BATCH
        self._axes = [
            np.array(
                [gene.place(choice) for choice in gene.choices] or np.linspace(0.0, 1.0, steps)
            )
            for gene in space.genes
        ]
        self._order = np.random.default_rng(seed).permutation(points)

    def _ask(self, count: int) -> "list[Genome]":
        places = self._order[np.arange(self.asked, self.asked + count) % len(self._order)]
        digits = np.unravel_index(places, self._sizes)
        return list(np.stack([a[d] for a, d in zip(self._axes, digits, strict=True)], axis=1))

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Nothing to learn."""
