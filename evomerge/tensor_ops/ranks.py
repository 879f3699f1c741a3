"""Ranks of magnitudes by native kernels: a sample says where to look, one walk counts there.

What lies between two magnitudes that a sample finds on either side of the one sought is counted to
the last bit, what is larger only as a number: so a single walk is exact. Where the sample misleads,
or a tensor is small, two walks count everything: first the upper 16 bits, then the lower 15 of
those that share the deciding ones.
"""

import math
from collections.abc import Iterator, Sequence
from ctypes import byref, c_int64
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from evomerge.tensor_ops.blocks import Operands
from evomerge.tensor_ops.kernels import as_pair, kernels_for
from evomerge.tensor_ops.native_library import Kernels, Values

HISTOGRAMS = 4
UPPER = 1 << 16
LOWER = 1 << 15
WORTH_SAMPLING = 1 << 20
"""Elements from which on a sample saves time."""

COARSE = 1 << 10
"""Counts that are added up before their order is looked at: fresh memory is slow."""

LEAST_ROOM = 1 << 16
"""Elements between which a rank is looked for; an eighth of a large tensor's."""

PIECES, PIECE = 256, 256
"""A sample is so many pieces, evenly spread, of so many elements."""

DEVIATIONS = 6.0
"""Standard deviations of a rank in a random sample: neighbours are alike, so more than four."""

Counts = npt.NDArray[np.uint32]


class Rank(NamedTuple):
    """The magnitude of some rank: 1 is the largest.

    Attributes:
        bits: of its float32.
        kept: of all with these bits, how many are needed to reach the rank.
        equals: how many have these bits.
    """

    bits: int
    kept: int
    equals: int


def magnitudes(one: Operands) -> "Magnitudes | None":
    """Return the ranks of the only model's task vector; None where torch has to count."""
    kernels = kernels_for(one)
    return Magnitudes(kernels, one) if kernels and one.base is not None else None


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """The magnitudes of a task vector, which is never written down."""

    kernels: Kernels
    one: Operands

    def find(self, ranks: Sequence[int]) -> list[Rank]:
        """Find the magnitude of each rank, 1 the largest."""
        sample = self._sample() if self.one.numel >= WORTH_SAMPLING else None
        found = [None if sample is None else self._find_near(rank, sample) for rank in ranks]
        if None in found:
            upper = self._count_upper()
            pairs = zip(ranks, found, strict=True)
            found = [near or self._find_below(rank, upper) for rank, near in pairs]
        return [rank for rank in found if rank]

    def find_equal(self, bits: int, number: int) -> int:
        """Index of the number-th element whose magnitude has these bits."""
        start, left = 0, c_int64(number)
        for model, base, length in self._walk():
            place = self.kernels.find_equal(byref(model), byref(base), length, bits, byref(left))
            if place >= 0:
                return start + int(place)
            start += length
        raise AssertionError("the blocks changed while they were walked")

    def _sample(self) -> Counts:
        """Bits of the magnitudes of pieces all over the tensor."""
        sample = np.empty((PIECES, PIECE), np.uint32)
        for i, start in enumerate(np.linspace(0, self.one.numel - PIECE, PIECES)):
            model, base, length = as_pair(self.one.view(int(start), PIECE))
            self.kernels.write_magnitudes(byref(model), byref(base), length, sample[i].ctypes.data)
        return sample.reshape(-1)

    def _find_near(self, rank: int, sample: Counts) -> Rank | None:
        """Find the magnitude of a rank among those a sample says are near; else None."""
        share, size = rank / self.one.numel, len(sample)
        margin = 1 + int(DEVIATIONS * math.sqrt(size * share * (1 - share)))
        place = size - int(share * size)
        low, high = max(0, place - margin), min(size - 1, place + margin)
        near = np.partition(sample, (low, high))
        return self._find_among(rank, int(near[low]), int(near[high]) + 1)

    def _find_among(self, rank: int, first: int, end: int) -> Rank | None:
        """Find the magnitude of a rank by looking at those with bits in [first, end)."""
        capacity = max(LEAST_ROOM, self.one.numel // 8)
        buffer = self.one.scratch.take("collected", capacity, torch.int32).numpy().view(np.uint32)
        room, above = c_int64(capacity), 0
        for model, base, length in self._walk():
            above += self.kernels.collect_between(
                byref(model), byref(base), length, first, end - first,
                buffer[capacity - room.value :].ctypes.data, byref(room),
            )  # fmt: skip
            if room.value < 0:
                return None
        found = buffer[: capacity - room.value]
        if not 1 <= rank - above <= len(found):
            return None
        found.partition(len(found) - (rank - above))
        bits = int(found[len(found) - (rank - above)])
        larger, equals = int((found > bits).sum()), int((found == bits).sum())
        return Rank(bits, rank - above - larger, equals)

    def _find_below(self, rank: int, upper: Counts) -> Rank:
        found = _count_down(upper, rank)
        assert found
        near = self._find_between(rank, found.bits << 15, LOWER)
        assert near
        return near

    def _find_between(self, rank: int, first: int, width: int) -> Rank | None:
        counts = self._zeros(width)
        above = sum(
            self.kernels.count_between(
                byref(model), byref(base), length, first, width, counts.ctypes.data
            )
            for model, base, length in self._walk()
        )
        found = _count_down(counts, rank - above)
        return found and Rank(first + found.bits, found.kept, found.equals)

    def _count_upper(self) -> Counts:
        counts = self._zeros(HISTOGRAMS * UPPER)
        for model, base, length in self._walk():
            self.kernels.count_upper(byref(model), byref(base), length, counts.ctypes.data)
        total: Counts = counts.reshape(HISTOGRAMS, UPPER).sum(axis=0, dtype=np.uint32)
        return total

    def _zeros(self, length: int) -> Counts:
        buffer = self.one.scratch.take("counts", HISTOGRAMS * UPPER, torch.int32)[:length]
        counts: Counts = buffer.zero_().numpy().view(np.uint32)
        return counts

    def _walk(self) -> Iterator[tuple[Values, Values, int]]:
        return (as_pair(views) for views in self.one.views())


def _count_down(counts: Counts, rank: int) -> Rank | None:
    """Find where the count from the top reaches `rank`; None where it lies outside."""
    starts = np.arange(0, len(counts), COARSE)
    groups = np.add.reduceat(counts, starts, dtype=np.int64)[::-1].cumsum()
    if not 1 <= rank <= int(groups[-1]):
        return None
    group = int(np.searchsorted(groups, rank))
    rank -= int(groups[group - 1]) if group else 0
    first = int(starts[len(starts) - 1 - group])
    at_least = counts[first : first + COARSE][::-1].cumsum(dtype=np.int64)
    place = int(np.searchsorted(at_least, rank))
    bits = first + len(at_least) - 1 - place
    equals = int(counts[bits])
    return Rank(bits, rank - int(at_least[place]) + equals, equals)
