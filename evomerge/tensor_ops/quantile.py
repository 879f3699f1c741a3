"""Exact magnitude thresholds from histograms of float bits, never a sort.

The bits of a non-negative float32, read as an integer, are ordered as the floats are. So the
k-th largest magnitude is found by counting: first the upper 16 bits, then the lower 15 of those
that fall into the deciding bin. Of equal magnitudes the ones with the lowest index are kept, so
that exactly k survive, for any block size, device and thread count.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.tensor_ops.blocks import Operands
from evomerge.tensor_ops.rank_candidates import Rank
from evomerge.tensor_ops.ranks import Magnitudes, magnitudes

UPPER = 1 << 16
LOWER = 1 << 15
ALL = 2**63 - 1
"""Index beyond all elements: every equal is kept."""


@dataclass(frozen=True, slots=True)
class MagnitudeCut:
    """Keep what is larger than `threshold`, and of its equals those up to index `last_equal`."""

    threshold: float
    last_equal: int

    def keeps(self, values: Tensor, start: int) -> Tensor:
        """Tell what is kept: a bool tensor of the shape of `values`.

        Args:
            values: float32, 1-D: elements [start, start + len(values)) of the flat tensor.
            start: index of the first.
        """
        size = values.abs()
        keep = size > self.threshold
        if start <= self.last_equal:
            equal = (size == self.threshold)[: self.last_equal - start + 1]
            keep[: len(equal)] |= equal
        return keep


@dataclass(frozen=True, slots=True)
class Deltas:
    """The task vector of a single model, walked block by block as often as needed."""

    operands: Operands

    def __iter__(self) -> Iterator[Tensor]:
        return (block.deltas()[0] for block in self.operands.walk())


def find_magnitude_cuts(blocks: Iterable[Tensor], keeps: Sequence[int]) -> list[MagnitudeCut]:
    """Find, for each number in `keeps`, the cut that keeps exactly so many largest magnitudes.

    Args:
        blocks: float32 1-D blocks of a tensor in order; iterated over up to 2 + len(keeps) times.
        keeps: how many elements survive, each at least 1 and at most all.
    """
    return [
        MagnitudeCut(
            _as_float(rank.bits), ALL if rank.kept == rank.equals else _last_equal(blocks, rank)
        )
        for rank in _find_bits(blocks, keeps)
    ]


def find_largest(blocks: Iterable[Tensor], ranks: Sequence[int]) -> list[float]:
    """Find magnitudes by rank: 1 is the largest; exact, in two walks for any number of ranks.

    Args:
        blocks: float32 1-D blocks of a tensor; iterated over twice.
        ranks: each at least 1 and at most the number of elements.
    """
    return [_as_float(rank.bits) for rank in _find_bits(blocks, ranks)]


def _find_bits(blocks: Iterable[Tensor], ranks: Sequence[int]) -> list[Rank]:
    """Find the magnitude of each rank."""
    if native := _native(blocks):
        return native.find(ranks)
    upper = _count((_bits(b) >> 15 for b in blocks), UPPER)
    places = [_deciding_bin(upper, rank) for rank in ranks]
    inside = _count_inside(blocks, {bin_ for bin_, _ in places})
    found = []
    for rank, (bin_, above) in zip(ranks, places, strict=True):
        lower = inside[bin_]
        low, above_in_bin = _deciding_bin(lower, rank - above)
        found.append(Rank((bin_ << 15) | low, rank - above - above_in_bin, int(lower[low])))
    return found


def _native(blocks: Iterable[Tensor]) -> Magnitudes | None:
    return magnitudes(blocks.operands) if isinstance(blocks, Deltas) else None


def _count_inside(blocks: Iterable[Tensor], bins: set[int]) -> dict[int, Tensor]:
    """Count the lower 15 bits of what falls into each of these bins of the upper 16.

    All that a block needs has the block's size: memory is used again instead of being cut up.
    """
    rows = torch.full((UPPER,), len(bins), dtype=torch.int64)
    rows[list(bins)] = torch.arange(len(bins))
    counts = torch.zeros(len(bins) + 1, LOWER, dtype=torch.int64)
    for bits in (_bits(block).cpu() for block in blocks):
        keys = rows[(bits >> 15).long()].mul_(LOWER).add_(bits & (LOWER - 1))
        counts.view(-1).add_(torch.bincount(keys, minlength=counts.numel()))
    return dict(zip(bins, counts, strict=False))


def _as_float(bits: int) -> float:
    return float(torch.tensor(bits, dtype=torch.int32).view(torch.float32))


def _bits(block: Tensor) -> Tensor:
    return block.view(torch.int32) & 0x7FFFFFFF


def _count(keys: Iterable[Tensor], bins: int) -> Tensor:
    counts = torch.zeros(bins, dtype=torch.int64)
    for key in keys:
        counts += torch.bincount(key.cpu(), minlength=bins)
    return counts


def _deciding_bin(counts: Tensor, keep: int) -> tuple[int, int]:
    """Return the bin that holds the keep-th largest, and how many lie in bins above it."""
    at_least = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(at_least, keep))
    above = int(at_least[place - 1]) if place else 0
    return len(counts) - 1 - place, above


def _last_equal(blocks: Iterable[Tensor], rank: Rank) -> int:
    """Index of the last element kept whose magnitude is that of a rank (NaN equals itself here)."""
    if native := _native(blocks):
        return native.find_last(rank)
    start, equals_to_keep = 0, rank.kept
    for block in blocks:
        places = (_bits(block) == rank.bits).nonzero().flatten()
        if len(places) >= equals_to_keep:
            return start + int(places[equals_to_keep - 1])
        equals_to_keep -= len(places)
        start += len(block)
    raise AssertionError("the blocks changed while they were walked")
