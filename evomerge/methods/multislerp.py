"""Multislerp: a weighted mean direction of any number of models (Goddard, 2025).

https://goddard.blog/posts/multislerp-wow-what-a-cool-idea
"""

from typing import Annotated

from evomerge.methods.spec import PerModel, Range, Weight, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.inner_products import cosines, dot, length_of, lengths
from evomerge.tensor_ops.interpolation import Blend
from evomerge.tensor_ops.reductions import gram

Tolerance = Annotated[float, Range(0.0, 1.0)]


@merge_method("multislerp", base="optional")
def multislerp(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    normalize_weights: bool = True,
    eps: Tolerance = 1e-8,
) -> Formula:
    """Take the weighted mean of the directions and the weighted mean of the lengths.

    Each tensor is one vector; with a base, each task vector is, and the result is added to the
    base. The method is defined by the tangent plane at the weighted mean of the unit vectors m:
    the projections wᵢ(uᵢ - (uᵢ·m)m) add up to zero there, so that the result is m itself, times
    Σ wᵢ|xᵢ|. Weights are divided by their sum if `normalize_weights`. A single model stays as it
    is.

    Use it when you want the average of several models without the loss of norm that averaging
    brings, and cheaper than karcher.
    Limits: directions that cancel out (a mean of unit vectors shorter than `eps`) are averaged
    linearly.
    Walks over the inputs: 2.
    """
    deltas = operands.base is not None
    if len(operands.models) == 1:
        return Blend((1.0,))
    total = (sum(weight) or 1.0) if normalize_weights else 1.0
    shares = [w / total for w in weight]
    products = gram(operands, deltas=deltas)
    sizes = lengths(products)
    units = [share if size else 0.0 for share, size in zip(shares, sizes, strict=True)]
    length = length_of(units, cosines(products))
    if length <= eps:
        return Blend(tuple(shares), deltas=deltas)
    stretch = dot(shares, sizes) / length
    factors = tuple(stretch * u / s if s else 0.0 for u, s in zip(units, sizes, strict=True))
    return Blend(factors, deltas=deltas)
