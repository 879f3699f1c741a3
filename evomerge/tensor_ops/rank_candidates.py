"""What one walk over magnitudes finds out about a rank: those near it, and how many are larger.

Of the most common magnitude near the rank only the number is kept: task vectors of half precision
models have few distinct ones, so that a tenth of all elements may share one.
"""

from ctypes import byref, c_int64
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evomerge.tensor_ops.native_library import Kernels, Values

Bits = npt.NDArray[np.uint32]


class Rank(NamedTuple):
    """The magnitude of some rank: 1 is the largest.

    Attributes:
        bits: of its float32.
        kept: of all with these bits, how many are needed to reach the rank.
        equals: how many have these bits.
        block: number of the block that holds the last that is needed, where that is known.
        before: how many of the equals lie in the blocks before.
    """

    bits: int
    kept: int
    equals: int
    block: int = 0
    before: int = 0


class Candidates:
    """The magnitudes among which that of a rank is to be found.

    Args:
        rank: of the magnitude sought, 1 the largest.
        first: bits of the smallest candidate.
        common: bits of the one that is only counted.
        last: bits of the largest candidate.
        buffer: room for candidates.
    """

    def __init__(self, rank: int, first: int, common: int, last: int, buffer: Bits) -> None:
        self.rank, self._common = rank, common
        self._first, self._width = first, last + 1 - first
        self._buffer, self._room = buffer, c_int64(len(buffer))
        self._above = 0
        self._ends: list[int] = []
        self._equals: list[int] = []

    def add(self, kernels: Kernels, model: Values, base: Values, length: int) -> bool:
        """Look at the next block of a task vector; False where there is no more room."""
        equals = c_int64(self._equals[-1] if self._equals else 0)
        end = self._ends[-1] if self._ends else 0
        self._above += kernels.collect_between(
            byref(model), byref(base), length, self._first, self._width, self._common,
            self._buffer[end:].ctypes.data, byref(self._room), byref(equals),
        )  # fmt: skip
        self._ends.append(len(self._buffer) - self._room.value)
        self._equals.append(equals.value)
        return self._room.value >= 0

    def settle(self) -> Rank | None:
        """Find the rank's magnitude when all blocks were seen; None where it is no candidate."""
        found, equals = self._buffer[: self._ends[-1]], self._equals[-1]
        rank = self.rank - self._above
        larger = int(np.count_nonzero(found > self._common))
        if larger < rank <= larger + equals:
            return self._locate(self._common, rank - larger, np.array(self._equals))
        rank -= equals if rank > larger else 0
        if not 1 <= rank <= len(found):
            return None
        bits = int(np.partition(found, len(found) - rank)[len(found) - rank])
        places = np.flatnonzero(found == bits)
        kept = rank - int(np.count_nonzero(found > bits))
        return self._locate(bits, kept, np.searchsorted(places, self._ends))

    def _locate(self, bits: int, kept: int, up_to: npt.NDArray[np.int64]) -> Rank:
        """Say in which block the kept-th equal lies; `up_to` counts them, block after block."""
        block = int(np.searchsorted(up_to, kept))
        before = int(up_to[block - 1]) if block else 0
        return Rank(bits, kept, int(up_to[-1]), block, before)
