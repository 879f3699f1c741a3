"""Several continuations in one row, none of which sees another: the context's cache is not copied.

As in speculative decoding (Miao et al., 2024, "SpecInfer: tree attention"):
https://arxiv.org/abs/2305.09781
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def mask_side_by_side(
    context: Tensor, lengths: Sequence[Sequence[int]], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return what is added to attention, and the positions of rows of continuations.

    Args:
        context: 1 where a cached place holds a token, [rows, places].
        lengths: of each row's continuations, tokens; they stand side by side, padded on the right.
        dtype: of the model.

    Returns:
        0 or the dtype's least number, [rows, 1, width, places + width]; positions, [rows, width].
    """
    width = max(sum(several) for several in lengths)
    owners = [[k for k, n in enumerate(several) for _ in range(n)] for several in lengths]
    steps = [[step for n in several for step in range(n)] for several in lengths]
    owner, step = (_fill(rows, width).to(context.device) for rows in (owners, steps))
    own = (owner[:, :, None] == owner[:, None, :]).tril()
    before = context.bool()[:, None, :].expand(-1, width, -1)
    seen = torch.cat([before, own], dim=2)[:, None]
    mask = torch.zeros(seen.shape, dtype=dtype, device=context.device)
    mask.masked_fill_(~seen, torch.finfo(dtype).min)
    return mask, context.sum(1, keepdim=True) + step.clamp(min=0)


def _fill(rows: Sequence[Sequence[int]], width: int) -> Tensor:
    return torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows])
