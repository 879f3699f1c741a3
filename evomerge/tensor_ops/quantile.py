"""Exact magnitude thresholds from histograms of float bits, never a sort.

The bits of a non-negative float32, read as an integer, are ordered as the floats are. So the
k-th largest magnitude is found by counting: first the upper 16 bits, then the lower 15 of those
that fall into the deciding bin. Of equal magnitudes the ones with the lowest index are kept, so
that exactly k survive, for any block size, device and thread count.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

UPPER = 1 << 16
LOWER = 1 << 15


@dataclass(frozen=True, slots=True)
class MagnitudeCut:
    """Keep what is larger than `threshold`, and of its equals those up to index `last_equal`."""

    threshold: float
    last_equal: int

    def trim_(self, values: Tensor, start: int) -> Tensor:
        """Zero what is cut, in place.

        Args:
            values: float32, 1-D: elements [start, start + len(values)) of the flat tensor.
            start: index of the first.
        """
        size = values.abs()
        keep = size > self.threshold
        if start <= self.last_equal:
            equal = (size == self.threshold)[: self.last_equal - start + 1]
            keep[: len(equal)] |= equal
        return values.mul_(keep)


def find_magnitude_cut(blocks: Callable[[], Iterable[Tensor]], keep: int) -> MagnitudeCut:
    """Find the cut that keeps exactly the `keep` largest magnitudes.

    Args:
        blocks: called to walk the tensor (up to three times); yields float32 1-D blocks in order.
        keep: how many elements survive, at least 1 and at most all.
    """
    upper = _count((_bits(b) >> 15 for b in blocks()), UPPER)
    bin_, above = _deciding_bin(upper, keep)
    inside = (bits[(bits >> 15) == bin_] & (LOWER - 1) for bits in map(_bits, blocks()))
    low, above_in_bin = _deciding_bin(_count(inside, LOWER), keep - above)
    bits = (bin_ << 15) | low
    threshold = torch.tensor(bits, dtype=torch.int32).view(torch.float32).item()
    return MagnitudeCut(threshold, _last_equal(blocks, bits, keep - above - above_in_bin))


def _bits(block: Tensor) -> Tensor:
    return block.view(torch.int32) & 0x7FFFFFFF


def _count(keys: Iterable[Tensor], bins: int) -> Tensor:
    counts = torch.zeros(bins, dtype=torch.int64)
    for key in keys:
        counts += torch.bincount(key, minlength=bins)
    return counts


def _deciding_bin(counts: Tensor, keep: int) -> tuple[int, int]:
    """Return the bin that holds the keep-th largest, and how many lie in bins above it."""
    at_least = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(at_least, keep))
    above = int(at_least[place - 1]) if place else 0
    return len(counts) - 1 - place, above


def _last_equal(blocks: Callable[[], Iterable[Tensor]], bits: int, equals_to_keep: int) -> int:
    """Index of the last element kept whose magnitude has these bits (NaN equals itself here)."""
    start = 0
    for block in blocks():
        places = (_bits(block) == bits).nonzero().flatten()
        if len(places) >= equals_to_keep:
            return start + int(places[equals_to_keep - 1])
        equals_to_keep -= len(places)
        start += len(block)
    raise AssertionError("the blocks changed while they were walked")
