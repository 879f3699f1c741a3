"""Chances of being kept that grow with a magnitude's rank in its row (Deep et al., 2024, eq. 3).

https://arxiv.org/abs/2406.11617
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RankedChances:
    """Equal steps from density - epsilon, the smallest of a row, to density + epsilon, the largest.

    Of equal magnitudes the first ranks lowest; what is not a number ranks highest. The only element
    of a row has `density`.

    Attributes:
        width: elements of a row.
        density: mean probability, in (0, 1).
        epsilon: half of what the extremes differ by.
    """

    width: int
    density: float
    epsilon: float

    def steps(self, device: torch.device) -> Tensor:
        """Return the probability of each rank, ascending: float32, shape (width,)."""
        low, high = self.density - self.epsilon, self.density + self.epsilon
        steps = torch.linspace(low, high, self.width, device=device)
        return steps if self.width > 1 else steps.fill_(self.density)

    def limits(self) -> Tensor:
        """Return what the 32-bit number of each rank has to be below to be kept: int64."""
        return _limits(self)

    def __call__(self, delta: Tensor) -> Tensor:
        """Return each element's probability: float32; `delta` is whole rows, 1-D."""
        rows = delta.abs().view(-1, self.width)
        order = rows.argsort(dim=1, stable=True)
        chances = self.steps(delta.device).expand_as(rows)
        return torch.empty_like(rows).scatter_(1, order, chances).view(-1)


@lru_cache(maxsize=64)
def _limits(chances: RankedChances) -> Tensor:
    return as_limits(chances.steps(torch.device("cpu")))


def as_limits(chances: Tensor) -> Tensor:
    """Return, as int64, what numbers of 32 bits have to be below to be kept with these chances."""
    return (chances.to("cpu", torch.float64) * 2.0**32).clamp(0.0, 2.0**32).ceil().to(torch.int64)
