"""LoRA (Hu et al., 2021) as a change of one tensor: W' = W + s B A.

https://arxiv.org/abs/2106.09685, eq. 3. With a magnitude vector m it is DoRA (Liu et al., 2024,
https://arxiv.org/abs/2402.09353, eq. 5): W' = m (W + s B A) / ‖W + s B A‖, the norm being taken
over each output's inputs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 16
"""Rows whose change is computed at once, counted from the tensor's first row.

A product's last bits depend on the shape of what is multiplied: so it is always this one,
whichever rows are asked for.
"""


@dataclass(frozen=True, slots=True)
class Factors:
    """A change of low rank, left @ right, laid out as the tensor it changes; float32.

    Attributes:
        left: shape (rows, rank), the scale is in it.
        right: shape (rank, columns).
        magnitude: DoRA's lengths, one per output; None for LoRA.
    """

    left: Tensor
    right: Tensor
    magnitude: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """What an adapter does to one tensor of the model.

    Attributes:
        load: gives the factors; called for every block, so it remembers them.
        whole: whether all rows are needed at once: DoRA whose outputs are columns.
    """

    load: Callable[[], Factors]
    whole: bool = False

    def apply(self, weight: Tensor, first: int = 0) -> Tensor:
        """Adapt rows in place; bits do not depend on how rows are split over calls.

        Args:
            weight: float32, shape (rows, columns): rows [first, first + rows) of the tensor, all
                of them where `whole` is set. A vector is one row.
            first: number of the first row; calls cost least at multiples of TILE.

        Returns:
            `weight` itself.
        """
        factors = self.load()
        squares = torch.zeros(weight.shape[1], dtype=torch.float64)
        for tile, inside, own in _tiles(factors, first, weight):
            tile[inside].add_(weight[own])
            if factors.magnitude is not None and self.whole:
                squares += tile[inside].double().square_().sum(dim=0)
            elif factors.magnitude is not None:
                lengths = torch.linalg.vector_norm(tile, dim=1, dtype=torch.float64)
                start = first + own.start - inside.start
                stretch = factors.magnitude[start : start + len(tile)] / lengths
                tile.mul_(stretch.float().unsqueeze(1))
            weight[own] = tile[inside]
        if factors.magnitude is not None and self.whole:
            weight.mul_((factors.magnitude / squares.sqrt_()).float())
        return weight


def _tiles(factors: Factors, first: int, weight: Tensor) -> Iterator[tuple[Tensor, slice, slice]]:
    """Yield the change tile by tile: the tile, which of its rows are asked for, where they go."""
    last = first + len(weight)
    buffer = torch.empty(TILE, weight.shape[1])
    for start in range(first - first % TILE, last, TILE):
        left = factors.left[start : start + TILE]
        tile = torch.mm(left, factors.right, out=buffer[: len(left)])
        low, high = max(start, first), min(start + TILE, last)
        yield tile, slice(low - start, high - start), slice(low - first, high - first)
