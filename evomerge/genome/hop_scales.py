"""Genes for the scales of a path's hops (Akiba et al., 2024): forms of the paper's W.

https://arxiv.org/abs/2403.13187 (section 3.2)

All scales lie in a range of positive numbers, and are 1 where a search begins.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from evomerge.errors import Problem
from evomerge.space import DIGITS, Choice, Gene

Slot = tuple[int, int, int]
"""Repeat, number of a model in the pool, number of a layer in it."""
Layer = tuple[int, int]
"""Number of a model, number of a layer."""
Range = tuple[float, float]

HIDDEN = 4
"""Units of the network's hidden layer."""
INPUTS = 5
"""What it sees: where from, where to, how far along, whether in the same model, and 1."""
WIDTH = 3.0
"""Its weights are sought in [-WIDTH, WIDTH]."""


def check_scale_range(span: Range) -> Iterator[Problem]:
    """Yield what is wrong with a range of scales."""
    low, high = span
    if not 0.0 < low <= 1.0 <= high < math.inf or low == high:
        told = f"expected 0 < low <= 1 <= high, not [{low:g}, {high:g}]"
        yield Problem("genome.scale_range", told)


def use(slot: Slot) -> str:
    """Return the name of the gene that says whether a slot is on the path."""
    return "path.{}/{}.{}".format(*slot)


class HopScales(Protocol):
    """Genes from which the scales of a path's hops are read."""

    def genes(self) -> list[Gene]:
        """Return the genes."""
        ...

    def read(self, values: Mapping[str, Choice], path: Sequence[Slot]) -> list[float]:
        """Return the scale of every hop of a path, given all genes' values."""
        ...


class NoScales:
    """Nothing is scaled."""

    def __init__(self, slots: Sequence[Slot], end: Slot, span: Range) -> None: ...

    def genes(self) -> list[Gene]:
        """Return no gene."""
        return []

    def read(self, values: Mapping[str, Choice], path: Sequence[Slot]) -> list[float]:  # noqa: ARG002 - as the others'
        """Return 1 for every hop."""
        return [1.0] * len(path)


class SlotScales:
    """One scale for every slot, and one for the end where it is appended.

    Args:
        slots: all that there are; the first is on every path.
        end: the slot of the last layer where none of the others ends the path.
        span: (low, high) of a scale.
    """

    def __init__(self, slots: Sequence[Slot], end: Slot, span: Range) -> None:
        self._slots, self._end, self._span = slots, end, span

    def genes(self) -> list[Gene]:
        """Return a gene for each slot, of no effect where the slot is not on the path."""
        free = {self._slots[0], self._end}
        return [
            Gene(_scale(slot), *self._span, start=1.0, needs=None if slot in free else use(slot))
            for slot in (*self._slots, self._end)
        ]

    def read(self, values: Mapping[str, Choice], path: Sequence[Slot]) -> list[float]:
        """Return the scale of every hop of a path."""
        return [float(values[_scale(slot)]) for slot in path]


class MatrixScales:
    """The paper's W: one scale for every pair of layers, from and to; the first hop has none.

    Args:
        slots: all that there are.
        end: the slot of the last layer where none of the others ends the path.
        span: (low, high) of a scale.
    """

    def __init__(self, slots: Sequence[Slot], end: Slot, span: Range) -> None:
        self._layers = sorted({slot[1:] for slot in slots})
        self._span = span
        once = len(self._layers) == len(slots)
        self._needs = {s[1:]: use(s) for s in slots[1:] if once and s[1:] != end[1:]}

    def genes(self) -> list[Gene]:
        """Return a gene for each pair, of no effect where `to` is not on the path."""
        return [
            Gene(_step(source, to), *self._span, start=1.0, needs=self._needs.get(to))
            for source in self._layers
            for to in self._layers
        ]

    def read(self, values: Mapping[str, Choice], path: Sequence[Slot]) -> list[float]:
        """Return the scale of every hop of a path."""
        steps = (_step(source[1:], to[1:]) for source, to in pairwise(path))
        return [1.0, *(float(values[step]) for step in steps)]


class NetworkScales:
    """A small network that says a hop's scale by where it leads from and to.

    One hidden layer of tanh; the output is squeezed into the range, and is 1 where it is 0. The
    output's weights begin at 0, the hidden layer's spread over [-1, 1].

    Args:
        slots: all that there are.
        end: the slot of the last layer where none of the others ends the path.
        span: (low, high) of a scale.
    """

    def __init__(self, slots: Sequence[Slot], end: Slot, span: Range) -> None:  # noqa: ARG002 - as the others'
        self._places = {layer: k for k, layer in enumerate(sorted({s[1:] for s in slots}))}
        self._span = span

    def genes(self) -> list[Gene]:
        """Return a gene for every weight."""
        hidden = [
            Gene(_weight(unit, place), -WIDTH, WIDTH, start=math.sin(1 + unit * INPUTS + place))
            for unit in range(HIDDEN)
            for place in range(INPUTS)
        ]
        return hidden + [Gene(_weight(unit), -WIDTH, WIDTH, start=0.0) for unit in range(HIDDEN)]

    def read(self, values: Mapping[str, Choice], path: Sequence[Slot]) -> list[float]:
        """Return the scale of every hop of a path; the first comes from itself."""
        return [
            self._scale(values, self._features(path[max(0, t - 1)], to, t / len(path)))
            for t, to in enumerate(path)
        ]

    def _features(self, source: Slot, to: Slot, along: float) -> list[float]:
        last = max(1, len(self._places) - 1)
        places = (self._places[source[1:]] / last, self._places[to[1:]] / last)
        return [*places, along, float(source[1] == to[1]), 1.0]

    def _scale(self, values: Mapping[str, Choice], features: Sequence[float]) -> float:
        total = 0.0
        for unit in range(HIDDEN):
            weights = (float(values[_weight(unit, place)]) for place in range(INPUTS))
            inner = sum(w * x for w, x in zip(weights, features, strict=True))
            total += float(values[_weight(unit)]) * math.tanh(inner)
        low, high = self._span
        room = 1.0 - low if total < 0.0 else high - 1.0
        return round(1.0 + room * math.tanh(total), DIGITS)


def _scale(slot: Slot) -> str:
    return "scale.{}/{}.{}".format(*slot)


def _step(source: Layer, to: Layer) -> str:
    return "scale/{}.{}>{}.{}".format(*source, *to)


def _weight(unit: int, place: int | None = None) -> str:
    return f"network/{unit}" if place is None else f"network/{unit}.{place}"
