"""The space that is searched: named genes, numbers or choices, seen as a unit cube.

Knows nothing of models. Searchers work on the unit cube [0, 1]^n; `decode` maps a point of it to
values in the genes' own units: a number's range is stretched over [0, 1], choices share it in
equal parts (of three, [0, 1/3) is the first).

Many points decode to the same values. `settle` returns the one that stands for all of them.
Different values may still make equal recipes, which only their fingerprints tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

DIGITS = 6
"""Decoded numbers are rounded to this many decimals, so that a recipe reads well."""
Choice = float | bool | str


@dataclass(frozen=True, slots=True)
class Gene:
    """One value to be found: a number in [low, high], or one of `choices` where there are any.

    Attributes:
        name: what it is called, in its space and in messages.
        low: the least value of a number.
        high: the greatest value of a number.
        choices: the values of a gene that is no number, in any order.
        start: the value that a search begins with or near; if None the likeliest choice, where
            `chances` are given, and else the middle of the range.
        chances: how likely each choice is where a search begins, positive, their sum 1; equal if
            absent.
        needs: name of a gene of choices, earlier in the space, without which this one has no
            effect: where that gene has none, or its choice is False, 0 or ''.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Choice, ...] = ()
    start: Choice | None = None
    chances: tuple[float, ...] = ()
    needs: str | None = None

    @property
    def odds(self) -> tuple[float, ...]:
        """The chance of each choice where a search begins; empty for a number."""
        return self.chances or tuple(1.0 / len(self.choices) for _ in self.choices)

    @property
    def beginning(self) -> float:
        """The place in [0, 1] of the value that a search begins with or near."""
        if self.start is not None:
            return self.place(self.start)
        if self.chances:
            return self.place(self.choices[self.chances.index(max(self.chances))])
        return 0.5

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

    def quantile(self, share: float) -> float:
        """Return a place by the share of all draws below it, in [0, 1].

        Choices are drawn by their chances, numbers evenly; so a uniform `share` draws the gene.
        """
        if not self.choices:
            return share
        index = sum(bound <= share for bound in accumulate(self.odds))
        return self.place(self.choices[min(index, len(self.choices) - 1)])


class SearchSpace:
    """An ordered set of genes.

    Args:
        genes: at least one, names distinct, low < high or several different choices.
        known: points worth trying first, by name: what people would do without searching.
        metric: the inner product of two points' merges, as a symmetric matrix of shape
            (genes, genes) over gene *values*, or what makes it when it is first asked for; the
            identity where absent.

    Attributes:
        choosing: which genes have choices: bool, shape (genes,).

    Raises:
        ValueError: when that does not hold, or a gene begins with or needs what there is not.
    """

    _dependent = False
    """Whether there are points at which a gene has no effect."""

    def __init__(
        self,
        genes: Sequence[Gene],
        *,
        known: "Mapping[str, Genome] | None" = None,
        metric: "NDArray[np.float64] | Callable[[], NDArray[np.float64]] | None" = None,
    ) -> None:
        if not genes or not all(gene.has_room() for gene in genes):
            raise ValueError(
                "a search space needs at least one gene, each with low < high or several choices"
            )
        if len({gene.name for gene in genes}) != len(genes):
            raise ValueError("gene names must be distinct")
        for problem in _complain(genes):
            raise ValueError(problem)
        self.genes = tuple(genes)
        self.choosing = np.array([bool(gene.choices) for gene in genes])
        self._start = np.array([gene.beginning for gene in genes], dtype=np.float64)
        self._low, self._high = np.array([(gene.low, gene.high) for gene in genes]).T
        self._span = np.where(self.choosing, 1.0, self._high - self._low)
        self._dependent = self._dependent or any(gene.needs for gene in genes)
        self.known = {name: self.settle(point) for name, point in (known or {}).items()}
        self._metric = metric

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def metric(self) -> "NDArray[np.float64] | None":
        """The inner product of two points' merges, see above."""
        if callable(self._metric):
            self._metric = self._metric()
        return self._metric

    def clip(self, genome: "Genome") -> "Genome":
        """Return the nearest point of the unit cube, shape (genes,)."""
        return np.clip(np.asarray(genome, dtype=np.float64), 0.0, 1.0)

    def start(self) -> "Genome":
        """Return the point that a search begins with or near, shape (genes,)."""
        return self._start.copy()

    def quantile(self, shares: "NDArray[np.float64]") -> "Genome":
        """Return `Gene.quantile` of every gene; uniform `shares`, shape (genes,), draw a point."""
        places = [gene.quantile(share) for gene, share in zip(self.genes, shares, strict=True)]
        return np.array(places, dtype=np.float64)

    def decode(self, genome: "Genome") -> dict[str, Choice]:
        """Map a point of the unit cube to {gene name: number in [low, high], or choice}."""
        point = self._read(genome)
        numbers = self._numbers(point).tolist()
        return {
            gene.name: gene.value(point[k]) if gene.choices else numbers[k]
            for k, gene in enumerate(self.genes)
        }

    def encode(self, values: Mapping[str, Choice]) -> "Genome":
        """Map {gene name: value} back to the unit cube; numbers outside a range are clipped."""
        return np.array([gene.place(values[gene.name]) for gene in self.genes], dtype=np.float64)

    def settle(self, genome: "Genome") -> "Genome":
        """Return the point that stands for all that decode alike, shape (genes,).

        Every value lies at its own place (a choice in the middle of its part, a number rounded as
        it is decoded), and genes without effect where a search begins.
        """
        point = self._read(genome)
        settled = self.clip((self._numbers(point) - self._low) / self._span)
        for k in np.flatnonzero(self.choosing):
            settled[k] = self.genes[k].place(self.genes[k].value(point[k]))
        if not self._dependent:
            return settled
        return np.where(self._in_effect(self.decode(settled)), settled, self._start)

    def effective(self, genome: "Genome") -> "NDArray[np.bool_]":
        """Tell which genes have an effect at a point, shape (genes,); see `Gene.needs`."""
        if not self._dependent:
            return np.ones(len(self), dtype=np.bool_)
        return self._in_effect(self.decode(genome))

    def blend(self, points: "Sequence[Genome]", rng: np.random.Generator) -> "Genome":
        """Return a child of several points, shape (genes,).

        Numbers are the parents' means, choices one parent's at random. A space whose points can be
        merged into each other returns the merger instead.
        """
        stacked = np.array(points)
        lots = rng.integers(len(stacked), size=len(self))
        return np.where(self.choosing, stacked[lots, np.arange(len(self))], stacked.mean(axis=0))

    def _read(self, genome: "Genome") -> "Genome":
        point = self.clip(genome)
        if point.shape != (len(self),):
            raise ValueError(f"genome has shape {point.shape}, the space has {len(self)} genes")
        return point

    def _numbers(self, point: "Genome") -> "NDArray[np.float64]":
        """Return the values of numbers, rounded; of choices anything."""
        values: NDArray[np.float64] = np.round(self._low + point * self._span, DIGITS)
        return np.clip(values, self._low, self._high)

    def _in_effect(self, values: Mapping[str, Choice]) -> "NDArray[np.bool_]":
        on: dict[str, bool] = {}
        for gene in self.genes:
            on[gene.name] = not gene.needs or (on[gene.needs] and bool(values[gene.needs]))
        return np.array(list(on.values()))

    def describe(self) -> list[dict[str, object]]:
        """Return one row per gene: name, and low and high or choices."""
        return [
            {"name": gene.name, "choices": list(gene.choices)}
            if gene.choices
            else {"name": gene.name, "low": gene.low, "high": gene.high}
            for gene in self.genes
        ]


def _complain(genes: Sequence[Gene]) -> Iterator[str]:
    """Yield what is wrong with where genes begin and what they need."""
    earlier: dict[str, Gene] = {}
    for gene in genes:
        if gene.start is not None and not _holds(gene, gene.start):
            yield f"gene {gene.name} cannot begin with {gene.start!r}"
        if gene.chances and not _are_chances(gene):
            yield f"gene {gene.name} needs a positive chance for every choice, their sum 1"
        if gene.needs and (gene.needs not in earlier or all(earlier[gene.needs].choices)):
            yield f"gene {gene.name} needs {gene.needs!r}, which is no earlier gene that can be off"
        earlier[gene.name] = gene


def _holds(gene: Gene, value: Choice) -> bool:
    if gene.choices:
        return value in gene.choices
    return not isinstance(value, str) and gene.low <= value <= gene.high


def _are_chances(gene: Gene) -> bool:
    fit = len(gene.chances) == len(gene.choices) and min(gene.chances) > 0.0
    return fit and abs(sum(gene.chances) - 1.0) < 1e-9
