"""The space that is searched: named genes, numbers or choices, seen as a unit cube.

Knows nothing of models. Searchers work on the unit cube [0, 1]^n; `decode` maps a point of it to
values in the genes' own units: a number's range is stretched over [0, 1], choices share it in
equal parts (of three, [0, 1/3) is the first).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evomerge.types import Genome

DIGITS = 6
"""Decoded numbers are rounded to this many decimals, so that a recipe reads well."""
Choice = float | bool | str


@dataclass(frozen=True, slots=True)
class Gene:
    """One value to be found: a number in [low, high], or one of `choices` where there are any."""

    name: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Choice, ...] = ()

    def has_room(self) -> bool:
        """Tell whether there is more than one value."""
        return len(set(self.choices)) > 1 if self.choices else self.low < self.high

    def value(self, place: float) -> Choice:
        """Return the value at a place in [0, 1]."""
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        value = self.low + place * (self.high - self.low)
        return min(max(round(float(value), DIGITS), self.low), self.high)

    def place(self, value: Choice) -> float:
        """Return the place of a value: of a choice the middle of its part, of a number clipped.

        Raises:
            ValueError: no such choice, or not a number.
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"gene {self.name} has no choice {value!r}")
            return (self.choices.index(value) + 0.5) / len(self.choices)
        return min(max((float(value) - self.low) / (self.high - self.low), 0.0), 1.0)


class SearchSpace:
    """An ordered set of genes.

    Args:
        genes: at least one, names distinct, low < high or several different choices.

    Raises:
        ValueError: when that does not hold.
    """

    def __init__(self, genes: Sequence[Gene]) -> None:
        if not genes or not all(gene.has_room() for gene in genes):
            raise ValueError(
                "a search space needs at least one gene, each with low < high or several choices"
            )
        if len({gene.name for gene in genes}) != len(genes):
            raise ValueError("gene names must be distinct")
        self.genes = tuple(genes)

    def __len__(self) -> int:
        return len(self.genes)

    def clip(self, genome: "Genome") -> "Genome":
        """Return the nearest point of the unit cube, shape (genes,)."""
        return np.clip(np.asarray(genome, dtype=np.float64), 0.0, 1.0)

    def middle(self) -> "Genome":
        """Return the middle of the unit cube, shape (genes,)."""
        return np.full(len(self), 0.5)

    def decode(self, genome: "Genome") -> dict[str, Choice]:
        """Map a point of the unit cube to {gene name: number in [low, high], or choice}."""
        point = self.clip(genome)
        if point.shape != (len(self),):
            raise ValueError(f"genome has shape {point.shape}, the space has {len(self)} genes")
        return {gene.name: gene.value(p) for gene, p in zip(self.genes, point, strict=True)}

    def encode(self, values: Mapping[str, Choice]) -> "Genome":
        """Map {gene name: value} back to the unit cube; numbers outside a range are clipped."""
        return np.array([gene.place(values[gene.name]) for gene in self.genes], dtype=np.float64)

    def describe(self) -> list[dict[str, object]]:
        """Return one row per gene: name, and low and high or choices."""
        return [
            {"name": gene.name, "choices": list(gene.choices)}
            if gene.choices
            else {"name": gene.name, "low": gene.low, "high": gene.high}
            for gene in self.genes
        ]
