"""Blends: one factor per model, spherical interpolation among them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from torch import Tensor

from evomerge.tensor_ops import kernels
from evomerge.tensor_ops.blocks import Block, Views

PARALLEL = 0.9995
"""Above this |cos| two vectors are blended linearly: the sphere is flat between them."""
LARGEST_WHOLE = 1 << 12
"""Largest numerator: its product with a float16 has 11 + 12 bits and is exact in float32."""
CANCELLED = 1e-8
"""Weights whose sum is smaller cannot be divided by."""


@dataclass(frozen=True, slots=True)
class Blend:
    """The formula of every method whose result is a combination with fixed factors.

    Σ wᵢxᵢ / divisor, or with `deltas` θ₀ + scale·(Σ wᵢ(xᵢ - θ₀)) / divisor; each product, sum
    and quotient rounded to float32 in this order, models in theirs, the base's own share first.

    Attributes:
        factors: wᵢ, one per model.
        base: factor of the base itself; None leaves it out. Not with `deltas`.
        deltas: whether task vectors are combined and added to the base.
        divisor: applied to the sum; not zero.
        scale: applied to the sum of task vectors.
    """

    factors: tuple[float, ...]
    base: float | None = None
    deltas: bool = False
    divisor: float = 1.0
    scale: float = 1.0

    def __call__(self, block: Block) -> Tensor:
        """Return the float32 result for one block."""
        if self.deltas:
            merged = weighted_sum(block.deltas(), self.factors, block.spare)
            return divide_(merged, self.divisor).mul_(self.scale).add_(block.base)
        own = [] if self.base is None else [self.base]
        tensors = [*([block.base] if own else []), *block.models]
        return divide_(weighted_sum(tensors, (*own, *self.factors), block.spare), self.divisor)

    def write(self, views: Views, out: Tensor) -> bool | None:
        """Write the result in the dtype of `out`, the same bits, by native kernels.

        Returns:
            Whether all of it is finite after rounding; None where the kernels do not apply, and
            `out` is as it was.
        """
        return kernels.blend(self, views, out)


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


def divide_(values: Tensor, divisor: float) -> Tensor:
    """Divide in place, rounding once: a GPU would multiply by a plain number's inverse."""
    return values.div_(values.new_tensor([divisor])) if divisor != 1.0 else values


def as_fractions(weights: Sequence[float]) -> tuple[tuple[float, ...], float]:
    """Write weights over one divisor: (0.5, 0.3, 0.2) are 5, 3 and 2 over 10 (scaled below 1).

    Few bits times few bits are exact in float32. So the blend of half-precision tensors is exact
    until it is divided once, halves between two numbers go to the even one, votes that cancel
    are zero. As thirds and tenths they are not. Weights may share a factor of any kind.

    Returns:
        Numerators, all in [-1, 1], and their divisor; the weights themselves over 1 where they
        are no such fractions.
    """
    if not all(map(math.isfinite, weights)):
        return tuple(weights), 1.0  # as they come from inputs that are no numbers
    units = (1.0, max(map(abs, weights), default=0.0) or 1.0)
    for unit in units:
        parts = [_find_fraction(weight / unit) for weight in weights]
        common = math.lcm(*(part.denominator for part in parts))
        wholes = [int(part * common) for part in parts]
        near = (
            math.isclose(p, w / unit, rel_tol=1e-15) for p, w in zip(parts, weights, strict=True)
        )
        if max(map(abs, wholes), default=0) <= LARGEST_WHOLE and all(near):
            scale = 0.5 ** max(map(abs, wholes), default=0).bit_length()
            return tuple(whole * scale for whole in wholes), common * scale / unit
    return tuple(weights), 1.0


@lru_cache(maxsize=1024)
def _find_fraction(number: float) -> Fraction:
    """Return the nearest fraction with a denominator of at most 1000; a search asks ever again."""
    return Fraction(number).limit_denominator(1000)


def nonzero_sum(weights: Sequence[float]) -> float:
    """Return the sum to divide by: 1 where the weights cancel, to 1e-8 (as mergekit has it)."""
    total = math.fsum(weights)
    return total if abs(total) > CANCELLED else 1.0


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
