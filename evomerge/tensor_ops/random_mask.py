"""Random masks as pure functions of (seed, model, tensor, index): no generator has any state.

Philox 4x64-10 (Salmon et al., 2011) is counter-based: draw number i is computed from i and a
key. So a mask has the same bits for any block size, order, shard or thread count, and the same
model keeps the same mask in every candidate of a search (common random numbers).
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

PER_COUNTER = 8
"""32-bit draws that one Philox counter step yields; block starts must be multiples of it."""


def keep_mask(key: tuple[int, str, str], start: int, length: int, density: float) -> Tensor:
    """Bernoulli(density) mask of elements [start, start + length).

    Args:
        key: (seed, model identity, tensor name).
        start: index of the first element, a multiple of 8.
        length: number of elements.
        density: probability of keeping, in (0, 1]; honoured to 2⁻³².

    Returns:
        bool tensor, shape (length,): True where the element is kept.
    """
    if density >= 1.0:
        return torch.ones(length, dtype=torch.bool)
    assert start % PER_COUNTER == 0, "blocks start at whole Philox counters"
    digest = hashlib.sha256(repr(key).encode()).digest()
    bits = np.random.Philox(counter=start // PER_COUNTER, key=int.from_bytes(digest[:16], "little"))
    draws = bits.random_raw(-(-length // 2)).view(np.uint32)[:length]
    return torch.from_numpy(draws < np.uint32(int(density * 2**32)))
