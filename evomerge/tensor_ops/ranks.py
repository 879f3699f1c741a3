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
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from evomerge.tensor_ops.blocks import Operands
from evomerge.tensor_ops.kernels import as_pair, kernels_for
from evomerge.tensor_ops.native_library import Kernels, Values
from evomerge.tensor_ops.rank_candidates import Bits, Candidates, Rank

HISTOGRAMS = 4
UPPER = 1 << 16
LOWER = 1 << 15
WORTH_SAMPLING = 1 << 20
"""Elements from which on a sample saves time."""

COARSE = 1 << 10
"""Bits that are added up before their order is looked at: fresh memory is slow."""

LEAST_ROOM = 1 << 16
"""Elements between which a rank is looked for; an eighth of a large tensor's."""

PIECES, PIECE = 16, 2048
"""A sample is so many pieces, evenly spread, of so many elements."""

DEVIATIONS = 4.0
"""Standard deviations of a rank in a sample: a miss costs two more walks, seldom; what lies within
is sorted out each time."""


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
        worth_it = self.one.numel >= WORTH_SAMPLING
        near: list[Rank | None]
        near = self._find_near(ranks) if worth_it else [None] * len(ranks)
        if None in near:
            upper = self._count_upper()
            pairs = zip(ranks, near, strict=True)
            near = [found or self._find_below(rank, upper) for rank, found in pairs]
        return [found for found in near if found]

    def find_last(self, rank: Rank) -> int:
        """Index of the last element that is needed to reach a rank."""
        left = c_int64(rank.kept - rank.before)
        for start, length in islice(self.one.extents(), rank.block, None):
            model, base, _ = as_pair(self.one.view(start, length))
            place = self.kernels.find_equal(
                byref(model), byref(base), length, rank.bits, byref(left)
            )
            if place >= 0:
                return start + int(place)
        raise AssertionError("the blocks changed while they were walked")

    def _find_near(self, ranks: Sequence[int]) -> list[Rank | None]:
        """Find the magnitude of each rank among those a sample says are near, in one walk."""
        sample = self._sample()
        ordered = np.sort(sample, axis=None)
        searches = [self._limit(rank, i, sample, ordered) for i, rank in enumerate(ranks)]
        under_way = list(searches)
        for model, base, length in self._walk():
            under_way = [s for s in under_way if s.add(self.kernels, model, base, length)]
            if not under_way:
                break
        return [search.settle() if search in under_way else None for search in searches]

    def _sample(self) -> Bits:
        """Bits of the magnitudes of pieces all over the tensor, one piece a row."""
        sample = np.empty((PIECES, PIECE), np.uint32)
        for i, start in enumerate(np.linspace(0, self.one.numel - PIECE, PIECES)):
            model, base, length = as_pair(self.one.view(int(start), PIECE))
            self.kernels.write_magnitudes(byref(model), byref(base), length, sample[i].ctypes.data)
        return sample

    def _limit(self, rank: int, number: int, sample: Bits, ordered: Bits) -> Candidates:
        """Say between which magnitudes that of a rank lies, as far as a sample can tell."""
        share, size = rank / self.one.numel, sample.size
        place = min(size - 1, size - int(share * size))
        common = ordered[place]
        alike = size * share * (1 - share)  # as if neighbours were no more alike than others
        margin = 1 + int(DEVIATIONS * math.sqrt(max(alike, _vary(sample > common))))
        low, high = max(0, place - margin), min(size - 1, place + margin)
        room = max(LEAST_ROOM, self.one.numel // 8)
        buffer = self.one.scratch.take(f"candidates {number}", room, torch.int32)
        limits = int(ordered[low]), int(common), int(ordered[high])
        return Candidates(rank, *limits, buffer.numpy().view(np.uint32))

    def _find_below(self, rank: int, upper: Bits) -> Rank:
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

    def _count_upper(self) -> Bits:
        counts = self._zeros(HISTOGRAMS * UPPER)
        for model, base, length in self._walk():
            self.kernels.count_upper(byref(model), byref(base), length, counts.ctypes.data)
        total: Bits = counts.reshape(HISTOGRAMS, UPPER).sum(axis=0, dtype=np.uint32)
        return total

    def _zeros(self, length: int) -> Bits:
        buffer = self.one.scratch.take("counts", HISTOGRAMS * UPPER, torch.int32)[:length]
        counts: Bits = buffer.zero_().numpy().view(np.uint32)
        return counts

    def _walk(self) -> Iterator[tuple[Values, Values, int]]:
        return (as_pair(views) for views in self.one.views())


def _vary(larger: npt.NDArray[np.bool_]) -> float:
    """Variance of how many are larger in a whole sample, from how the pieces differ."""
    return len(larger) * float(larger.sum(axis=1).var(ddof=1))


def _count_down(counts: Bits, rank: int) -> Rank | None:
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
