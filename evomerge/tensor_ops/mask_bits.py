"""Random masks as bits, drawn natively and kept: a norm and a merge need the same mask.

DARE restores the norm a task vector had before it was thinned out, and so meets every mask twice;
DELLA has to sort for one. A bit per element is little to keep, and less than to draw again.
"""

from ctypes import byref
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evomerge.tensor_ops import native_library as native
from evomerge.tensor_ops.blocks import Views
from evomerge.tensor_ops.native_library import as_value, as_words
from evomerge.tensor_ops.philox import philox_key
from evomerge.tensor_ops.ranked_chances import RankedChances

if TYPE_CHECKING:
    from evomerge.tensor_ops.consensus import RandomMask

ALL_DRAWS = 1 << 32
SHORTEST_ROW = 32
"""Elements of a row from which sorting it natively pays."""

MOST_KEPT = 1 << 26
"""Elements of a tensor whose mask is kept, 8 MiB; what lies beyond is drawn again."""

SPARE_BYTES = 16
"""After a mask's bits, which are read and written by words."""


def can_draw(mask: "RandomMask", views: Views, *, alone: bool) -> bool:
    """Tell whether the kernels can draw a mask; by rank only of whole rows nothing else thins."""
    if not mask.chances:
        return True
    if not isinstance(mask.chances, RankedChances) or mask.divide or not alone:
        return False
    width = mask.chances.width
    return width >= SHORTEST_ROW and views.models[0].numel() % width == 0


def mask_bits(mask: "RandomMask", views: Views, model: int, *, keep: bool) -> Tensor | None:
    """Return a block's mask, one bit per element, the lowest of a byte first.

    Args:
        mask: one that the kernels can draw.
        views: the block.
        model: whose task vector it thins out.
        keep: whether the bits are kept in the mask for the next time.

    Returns:
        uint8, SPARE_BYTES longer than the bits; None where it is drawn as it is applied.
    """
    length = views.models[model].numel()
    drawn = mask.drawn.get((views.start, length))
    if drawn is not None:
        return drawn
    keep = keep and views.start + length <= MOST_KEPT
    if not mask.chances and (not keep or mask.density >= 1.0):
        return None
    bits = torch.empty(length // 8 + SPARE_BYTES, dtype=torch.uint8)
    _draw(mask, views, model, bits)
    if keep:
        mask.drawn[views.start, length] = bits
    return bits


def _draw(mask: "RandomMask", views: Views, model: int, bits: Tensor) -> None:
    kernels, values = native.current(), views.models[model]
    assert kernels is not None, "masks are drawn for kernels"
    key, place = as_words(philox_key(mask.key)), (views.start, values.numel())
    if isinstance(mask.chances, RankedChances):
        limits, width = mask.chances.limits().data_ptr(), mask.chances.width
        pair = byref(as_value(values)), byref(as_value(views.base))
        kernels.mask_by_rank(*pair, *place, width, limits, key, bits.data_ptr())
    else:
        kernels.draw_bits(key, int(mask.density * ALL_DRAWS), *place, bits.data_ptr())
