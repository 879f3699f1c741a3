"""Random masks as pure functions of (seed, model, tensor, index): no generator has any state.

The draws are those of `philox`. So a mask has the same bits for any block size, order, shard or
thread count, and the same model keeps the same mask in every candidate of a search (common random
numbers).
"""

import torch
from torch import Tensor

from evomerge.tensor_ops import kernels
from evomerge.tensor_ops.philox import draw_below, draw_bits, philox_key
from evomerge.tensor_ops.ranked_chances import as_limits


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
    if isinstance(density, Tensor):
        drawn = kernels.draw(philox_key(key), start, length)
        draws = draw_bits(philox_key(key), start, length) if drawn is None else drawn
        return torch.from_numpy(draws < as_limits(density).numpy()).to(device)
    if density >= 1.0:
        return torch.ones(length, dtype=torch.bool, device=device)
    kept = draw_below(philox_key(key), int(density * 2**32), start, length)
    return torch.from_numpy(kept).to(device)
