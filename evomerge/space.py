"""The space that is searched: named continuous genes with bounds, seen as a unit cube.

Knows nothing of models: a gene is a name and two numbers. Searchers work on the unit cube
[0, 1]^n; `decode` maps a point of it to values in the genes' own units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evomerge.types import Genome

DIGITS = 6
"""Decoded values are rounded to this many decimals, so that a recipe reads well."""


@dataclass(frozen=True, slots=True)
class Gene:
    """One number to be found: its name and its closed range [low, high]."""

    name: str
    low: float
    high: float


class SearchSpace:
    """An ordered set of genes.

    Args:
        genes: at least one, names distinct, low < high.

    Raises:
        ValueError: when that does not hold.
    """

    def __init__(self, genes: Sequence[Gene]) -> None:
        if not genes or any(not gene.low < gene.high for gene in genes):
            raise ValueError("a search space needs at least one gene, each with low < high")
        if len({gene.name for gene in genes}) != len(genes):
            raise ValueError("gene names must be distinct")
        self.genes = tuple(genes)
        self._low = np.array([gene.low for gene in genes], dtype=np.float64)
        self._high = np.array([gene.high for gene in genes], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.genes)

    def clip(self, genome: "Genome") -> "Genome":
        """Return the nearest point of the unit cube, shape (genes,)."""
        return np.clip(np.asarray(genome, dtype=np.float64), 0.0, 1.0)

    def middle(self) -> "Genome":
        """Return the middle of the unit cube, shape (genes,)."""
        return np.full(len(self), 0.5)

    def decode(self, genome: "Genome") -> dict[str, float]:
        """Map a point of the unit cube to {gene name: value in [low, high]}."""
        point = self.clip(genome)
        if point.shape != (len(self),):
            raise ValueError(f"genome has shape {point.shape}, the space has {len(self)} genes")
        values = self._low + point * (self._high - self._low)
        return {gene.name: _round(v, gene) for gene, v in zip(self.genes, values, strict=True)}

    def encode(self, values: Mapping[str, float]) -> "Genome":
        """Map {gene name: value} back to the unit cube; values outside a range are clipped."""
        raw = np.array([values[gene.name] for gene in self.genes], dtype=np.float64)
        return self.clip((raw - self._low) / (self._high - self._low))

    def describe(self) -> list[dict[str, object]]:
        """Return one row per gene: name, low, high."""
        return [{"name": g.name, "low": g.low, "high": g.high} for g in self.genes]


def _round(value: float, gene: Gene) -> float:
    """Round to DIGITS decimals, but never out of the gene's range."""
    return min(max(round(float(value), DIGITS), gene.low), gene.high)
