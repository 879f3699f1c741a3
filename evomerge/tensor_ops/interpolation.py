"""Weighted sums and spherical interpolation of blocks."""

import math
from collections.abc import Sequence

from torch import Tensor

PARALLEL = 0.9995
"""Above this |cos| two vectors are blended linearly: the sphere is flat between them."""


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> Tensor:
    """Write Σ wᵢ·xᵢ into `out`, in the order given; leaves wᵢ·xᵢ in `tensors`.

    Args:
        tensors: float32 tensors of one shape, at least one; overwritten.
        weights: one factor each.
        out: float32, same shape, none of `tensors`.
    """
    out.copy_(tensors[0].mul_(weights[0]))
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        out.add_(tensor.mul_(weight))
    return out


def slerp_factors(t: float, dot: float, norm0: float, norm1: float) -> tuple[float, float]:
    """Factors (a, b) of slerp(t; v0, v1) = a·v0 + b·v1 (Shoemake, 1985).

    Args:
        t: 0 gives v0, 1 gives v1.
        dot: v0·v1.
        norm0: Euclidean norm of v0.
        norm1: Euclidean norm of v1.

    Returns:
        sin((1-t)Ω)/sin Ω and sin(tΩ)/sin Ω with Ω the angle between v0 and v1; (1-t, t) where
        the two are (anti)parallel or one of them vanishes.
    """
    if norm0 == 0.0 or norm1 == 0.0:
        return 1.0 - t, t
    cosine = dot / (norm0 * norm1)
    if abs(cosine) > PARALLEL:
        return 1.0 - t, t
    angle = math.acos(cosine)
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
