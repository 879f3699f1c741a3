"""Restarts: a doubled population each (IPOP: Auger and Hansen, 2005), or two kinds in turn (BIPOP).

https://doi.org/10.1109/CEC.2005.1554902 and Hansen, 2009 (https://doi.org/10.1145/1570256.1570333).
A search that has converged, or stands on a plateau, learns nothing more where it is.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Restarts = Literal["none", "ipop", "bipop"]
KINDS = ("none", "ipop", "bipop")


@dataclass(frozen=True)
class Restart:
    """How a search begins again.

    Attributes:
        population: genomes per generation.
        step: by which the first step size is multiplied, in (0, 1].
        most: evaluations after which it ends in any case; None for no limit.
    """

    population: int
    step: float = 1.0
    most: int | None = None


class Schedule:
    """Which restart follows which.

    With 'ipop' each has twice the population of the one before. With 'bipop' those take turns with
    small and finer ones, so that either kind has about half of all evaluations: a small one draws
    its population between the first and half the largest, mostly near the first, and its step
    size between 1 and 1/100 of the first; and it ends after half of what the last large one took.

    Args:
        kind: 'ipop' or 'bipop'.
        population: of the search that is begun again.
        rng: of the draws.
    """

    def __init__(self, kind: Restarts, population: int, rng: np.random.Generator) -> None:
        self._kind, self._rng = kind, rng
        self._first = self._large = population
        self._regime = ""
        self._spent = {"": 0, "large": 0, "small": 0}
        self._latest = 0

    def next(self, spent: int) -> Restart:
        """Return the restart after a search that took so many evaluations."""
        self._spent[self._regime] += spent
        if self._regime == "large":
            self._latest = spent
        if self._kind == "bipop" and self._spent["small"] < self._spent["large"]:
            self._regime = "small"
            return self._draw_small()
        self._regime = "large"
        self._large *= 2
        return Restart(self._large)

    def _draw_small(self) -> Restart:
        size, step = self._rng.random(2)
        grown = (0.5 * self._large / self._first) ** (size**2)
        return Restart(int(self._first * grown), 10.0 ** (-2.0 * step), self._latest // 2)
