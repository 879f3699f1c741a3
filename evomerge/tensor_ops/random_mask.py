"""Random masks as pure functions of (seed, model, tensor, index): no generator has any state.

Philox 4x64-10 (Salmon et al., 2011) is counter-based: draw number i is computed from i and a
key. So a mask has the same bits for any block size, order, shard or thread count, and the same
model keeps the same mask in every candidate of a search (common random numbers).
"""

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

PER_COUNTER = 8
"""32-bit draws that one Philox counter step yields."""


def keep_mask(
    key: tuple[int, str, str],
    start: int,
    length: int,
    density: float | Tensor,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Bernoulli mask of elements [start, start + length).

    Args:
        key: (seed, model identity, tensor name).
        start: index of the first element.
        length: number of elements.
        density: probability of keeping, in [0, 1], honoured to 2⁻³²; one for all, or float32 of
            shape (length,), one for each.
        device: where the mask is wanted; its bits are the same anywhere.

    Returns:
        bool tensor, shape (length,): True where the element is kept.
    """
    if not isinstance(density, Tensor) and density >= 1.0:
        return torch.ones(length, dtype=torch.bool, device=device)
    draws = draw_bits(philox_key(key), start, length)
    if isinstance(density, Tensor):
        limits = (density.to("cpu", torch.float64) * 2.0**32).clamp(0.0, 2.0**32)
        return torch.from_numpy(draws < limits.numpy()).to(device)
    return torch.from_numpy(draws < np.uint32(int(density * 2**32))).to(device)


def philox_key(key: tuple[int, str, str]) -> bytes:
    """Return the 128-bit Philox key that (seed, model, tensor) stand for: two 64-bit words."""
    return hashlib.sha256(repr(key).encode()).digest()[:16]


def draw_bits(key: bytes, start: int, length: int) -> npt.NDArray[np.uint32]:
    """Draw 32-bit numbers [start, start + length) of the stream of `key`."""
    first, skipped = divmod(start, PER_COUNTER)
    bits = np.random.Philox(counter=first, key=int.from_bytes(key, "little"))
    draws = bits.random_raw(-(-(skipped + length) // 2)).view(np.uint32)
    return draws[skipped : skipped + length]
