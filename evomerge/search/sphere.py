"""Spherical blending of points by their merges: lengths, angles, and where a merge may be split.

Slerp is Shoemake's (1985): https://doi.org/10.1145/325334.325242
"""

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

FLAT = 1e-6
"""Where the sine of the angle is below it, two points are blended linearly."""


class Sphere:
    """The numbers of a space as vectors in the space's metric; choices count as zeros."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._low = np.array([0.0 if gene.choices else gene.low for gene in space.genes])
        high = np.array([1.0 if gene.choices else gene.high for gene in space.genes])
        self._span = high - self._low

    @cached_property
    def cuts(self) -> list[int]:
        """Before which genes a merge may be split: where the metric ties nothing together."""
        count, metric = len(self._space), self._space.metric
        if metric is None:
            return list(range(count + 1))
        tied = (metric != 0.0) | np.eye(count, dtype=np.bool_)  # a zero vector's row has no length
        furthest = np.maximum.accumulate(count - 1 - tied[:, ::-1].argmax(axis=1))
        return [0, *(k for k in range(1, count) if furthest[k - 1] < k), count]

    def values(self, point: "Genome") -> "NDArray[np.float64]":
        """Return a point in the genes' own units, shape (genes,)."""
        return np.where(self._space.choosing, 0.0, self._low + point * self._span)

    def places(self, values: "NDArray[np.float64]") -> "Genome":
        """Return the point of the unit cube that stands for values of numbers."""
        return self._space.clip((values - self._low) / self._span)

    def angle(self, one: "NDArray[np.float64]", other: "NDArray[np.float64]") -> float:
        """Return the angle between two vectors, in [0, π]; 0 where one of them has no length."""
        metric = self._space.metric
        image = one if metric is None else metric @ one
        across = float(other @ image)
        squares = (float(one @ image), float(other @ (other if metric is None else metric @ other)))
        length = math.prod(math.sqrt(max(0.0, square)) for square in squares)
        return math.acos(min(1.0, max(-1.0, across / length))) if length else 0.0


def slerp(share: float, angle: float) -> tuple[float, float]:
    """Return the factors of two vectors at an angle: (1, 0) for share 0, (0, 1) for 1."""
    sine = math.sin(angle)
    if sine <= FLAT:
        return 1.0 - share, share
    return math.sin((1.0 - share) * angle) / sine, math.sin(share * angle) / sine
