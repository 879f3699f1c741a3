"""Karcher mean: the direction closest to all models' (Wang, Ye & Yin, 2026).

https://arxiv.org/abs/2603.04972
"""

import math
from typing import Annotated

from evomerge.methods.spec import Range, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.inner_products import Gram, cosines, length_of, lengths, project
from evomerge.tensor_ops.interpolation import Blend
from evomerge.tensor_ops.reductions import gram

Iterations = Annotated[float, Range(0.0, 10_000.0)]
Tolerance = Annotated[float, Range(0.0, 1.0)]
RESOLUTION = 1e-7
"""Lengths are known to about 1e-8 of the unit vectors: what is shorter counts as zero."""


@merge_method("karcher")
def karcher(operands: Operands, *, max_iter: Iterations = 10, tol: Tolerance = 1e-5) -> Formula:
    """Average directions on the sphere, all models alike, and give them the mean length.

    Each tensor is one vector; its direction minimizes the sum of squared angles to the models'.
    The mean moves by the exponential map of the average of the logarithms until it moves by less
    than `tol` radians, or `max_iter` times.

    Use it when models differ so much that a plain average would shrink: it keeps their norm.

    Limits: all models have the same weight; of two exactly opposite directions it keeps the first.

    Cost: 2 walks over the inputs, the iteration is done on their inner products.
    """
    products = gram(operands)
    sizes = lengths(products)
    mean = _mean_direction(cosines(products), [s > 0.0 for s in sizes], int(max_iter), tol)
    scale = sum(sizes) / len(sizes)
    return Blend(tuple(scale * c / s if s else 0.0 for c, s in zip(mean, sizes, strict=True)))


def _mean_direction(units: Gram, present: list[bool], max_iter: int, tol: float) -> list[float]:
    """Return the mean as factors of the unit vectors."""
    if not any(present):
        return [0.0] * len(present)
    shares = [there / sum(present) for there in present]
    length = length_of(shares, units)
    mean = [float(i == present.index(True)) for i in range(len(present))]  # where all cancel out
    if length > RESOLUTION:
        mean = [share / length for share in shares]
    for _ in range(max_iter):
        step = _average_logarithm(mean, shares, units, tol)
        length = length_of(step, units)
        if length < max(tol, RESOLUTION):
            break
        turn = math.sin(length) / length
        mean = [math.cos(length) * m + turn * s for m, s in zip(mean, step, strict=True)]
        length = length_of(mean, units)
        mean = [m / length for m in mean]
    return mean


def _average_logarithm(
    mean: list[float], shares: list[float], units: Gram, tol: float
) -> list[float]:
    """Return Σ αᵢ·logₘ(uᵢ) with logₘ(u) = θ/sin θ·(u - cos θ·m), as factors of the units."""
    step = [0.0] * len(mean)
    for i, (share, cosine) in enumerate(zip(shares, project(mean, units), strict=True)):
        angle = math.acos(max(-1.0, min(1.0, cosine)))
        if angle < tol or math.pi - angle < RESOLUTION or not share:
            continue  # already there, or just opposite: no direction leads there
        stretch = share * angle / math.sin(angle) if angle else share
        step = [s - stretch * cosine * m for s, m in zip(step, mean, strict=True)]
        step[i] += stretch
    return step
