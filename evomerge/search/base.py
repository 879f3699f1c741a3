"""Ask and tell: the contract of every searcher, with its bookkeeping done once.

A searcher proposes points of the unit cube and is told what they earned. It has never heard of
models. Subclasses write `_ask` and `_tell` only.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.registry import Registry

if TYPE_CHECKING:
    from evomerge.types import Genome


class Searcher(ABC):
    """Base of all searchers.

    Args:
        dimension: number of genes.
        seed: everything random derives from it; equal seeds and tells give equal asks.

    Attributes:
        batch: how many genomes belong together; a whole batch is told before the next is asked.
        asked: genomes proposed so far.
        told: results received so far.
        duplicates: genomes proposed that had been proposed before.
        best: the best result so far, None before any finite one.
    """

    def __init__(self, dimension: int, *, seed: int = 0) -> None:
        self.dimension = dimension
        self.seed = seed
        self.batch = 1
        self.asked = 0
        self.told = 0
        self.duplicates = 0
        self.best: Evaluated | None = None
        self._seen: set[bytes] = set()

    def ask(self, count: int | None = None) -> "list[Genome]":
        """Propose `count` genomes (a batch, if absent), each of shape (dimension,) in [0, 1]."""
        genomes = [
            np.clip(np.asarray(genome, dtype=np.float64), 0.0, 1.0)
            for genome in self._ask(self.batch if count is None else count)
        ]
        for genome in genomes:
            key = genome.tobytes()
            self.duplicates += key in self._seen
            self._seen.add(key)
        self.asked += len(genomes)
        return genomes

    def tell(self, results: Sequence[Evaluated]) -> None:
        """Learn what a batch earned; failed and NaN candidates count as worst."""
        self.told += len(results)
        for result in results:
            if result.standing and (self.best is None or result.rank_key > self.best.rank_key):
                self.best = result
        self._tell(results)

    def recommend(self) -> "list[Genome]":
        """Return genomes worth a look besides the best seen, such as a distribution's mean."""
        return []

    @abstractmethod
    def _ask(self, count: int) -> "list[Genome]":
        """Propose `count` genomes."""

    @abstractmethod
    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn; `results` may be a part of a batch when the budget ends within it."""


SEARCHERS: Registry[type[Searcher]] = Registry("searcher", "evomerge.searchers")
