"""A grid of cells, each of which keeps the best that behaves so (Mouret and Clune, 2015).

https://arxiv.org/abs/1504.04909

What the grid holds is a function of everything seen, in order: when a range widens, all of it is
sorted in anew.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Cell = tuple[int, ...]
Ranges = Sequence[tuple[float, float]]


def find_ranges(seen: "NDArray[np.float64]") -> list[tuple[float, float]]:
    """Return (least, greatest) of each column."""
    return list(zip(seen.min(axis=0).tolist(), seen.max(axis=0).tolist(), strict=True))


def sort_in(
    quality: "NDArray[np.float64]", behaviour: "NDArray[np.float64]", ranges: Ranges, bins: int
) -> dict[Cell, int]:
    """Return cell -> row of the best in it; of equals the one that came first.

    Args:
        quality: higher is better, shape (rows,), or (rows, k), of which the first column decides,
            then the second ...
        behaviour: shape (rows, dimensions); what lies outside its range is in the outermost cell.
        ranges: (low, high) of each dimension, cut into equal parts; all is one where low = high.
        bins: parts of each dimension.

    Raises:
        ValueError: there are not as many ranges as dimensions.
    """
    if len(ranges) != behaviour.shape[1]:
        raise ValueError(f"expected {behaviour.shape[1]} ranges, one per axis, not {len(ranges)}")
    low = np.array([low for low, _ in ranges])
    span = np.array([high - low for low, high in ranges])
    parts = (behaviour - low) / np.where(span > 0.0, span, np.inf) * bins
    cells = np.clip(np.ceil(parts) - 1, 0, bins - 1).astype(int)
    columns = quality.reshape(len(quality), -1)
    found: dict[Cell, int] = {}
    for row in np.lexsort(-columns.T[::-1]):  # stable: of equals the first
        found.setdefault(tuple(cells[row].tolist()), int(row))
    return dict(sorted(found.items()))


def read_ranges(name: str, ranges: Sequence[Sequence[float]] | None) -> Ranges | None:
    """Return ranges as pairs; None stands for what is seen.

    Raises:
        ValueError: one of them is no pair of finite numbers low < high.
    """
    if ranges is None:
        return None
    if not all(len(p) == 2 and p[0] < p[1] and np.isfinite(p).all() for p in ranges):
        raise ValueError(f"{name} needs ranges as [low, high], low < high, both finite")
    return [(pair[0], pair[1]) for pair in ranges]
