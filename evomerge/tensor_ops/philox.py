"""Streams of random numbers as pure functions of (key, index): no generator has any state.

Philox 4x64-10 (Salmon et al., 2011, https://doi.org/10.1145/2063384.2063405) is counter-based:
what it yields is computed from a counter and a key. A stream's numbers have 32 bits, which lie in
32 planes, the highest bit first; counter (group + 1, plane, 0, 0) yields one plane's bits of 256
numbers. Whether a number is below a limit is decided by the first plane in which they differ, so
that two planes are needed on average and never more than 32.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

PER_COUNTER = 256
"""Numbers of which one counter yields a bit each."""

PLANES = 32
WORDS = 4
"""Of 64 bits, per counter."""

Words = npt.NDArray[np.uint64]


def philox_key(key: tuple[int, str, str]) -> bytes:
    """Return the 128-bit Philox key that (seed, model, tensor) stand for: two 64-bit words."""
    return hashlib.sha256(repr(key).encode()).digest()[:16]


def draw_bits(key: bytes, start: int, length: int) -> npt.NDArray[np.uint32]:
    """Draw numbers [start, start + length) of the stream of `key`, 32 bits each."""
    first, skipped, groups = _groups(start, length)
    planes = _draw_planes(key, first, groups)
    numbers = np.zeros(groups * PER_COUNTER, np.uint32)
    for plane in planes:
        numbers <<= 1
        numbers |= _unpack(plane)
    return numbers[skipped : skipped + length]


def draw_below(key: bytes, limit: int, start: int, length: int) -> npt.NDArray[np.bool_]:
    """Tell of each of the numbers [start, start + length) whether it is below `limit` < 2³²."""
    first, skipped, groups = _groups(start, length)
    below = np.zeros(groups * WORDS, np.uint64)
    level = ~below
    for place, plane in enumerate(_draw_planes(key, first, groups) if limit else ()):
        if limit >> (PLANES - 1 - place) & 1:
            below |= level & ~plane
            level &= plane
        else:
            level &= ~plane
        if not level.any() or not (limit << place + 1) % (1 << PLANES):
            break
    return _unpack(below)[skipped : skipped + length].view(np.bool_)


def _groups(start: int, length: int) -> tuple[int, int, int]:
    """Return the first group, how many of its numbers are not asked for, and how many groups."""
    first, skipped = divmod(start, PER_COUNTER)
    return first, skipped, -(-(skipped + length) // PER_COUNTER)


def _draw_planes(key: bytes, first: int, groups: int) -> Iterator[Words]:
    """Yield plane after plane of these groups; numpy counts up before it draws."""
    for plane in range(PLANES):
        counter = first + (plane << 64)
        bits = np.random.Philox(counter=counter, key=int.from_bytes(key, "little"))
        yield bits.random_raw(groups * WORDS)


def _unpack(words: Words) -> npt.NDArray[np.uint8]:
    return np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), bitorder="little")
