"""Multislerp: a weighted mean direction of any number of models (Goddard, 2025).

https://goddard.blog/posts/multislerp-wow-what-a-cool-idea
"""

import math
from typing import Annotated

from evomerge.methods.spec import PerModel, Range, Weight, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.inner_products import cosines, dot, length_of, lengths
from evomerge.tensor_ops.interpolation import Blend, nonzero_sum
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
    base. Directions are averaged on the tangent plane at the weighted mean m of the unit vectors,
    where the projections wᵢ(uᵢ - (uᵢ·m)m) add up to zero: so the result is m itself, times
    Σ wᵢ|xᵢ|. Weights are divided by their sum if `normalize_weights`. A single model stays as it
    is. `eps` is added to every length, as in the original.

    Use it when you want the average of several models without the loss of norm that averaging
    brings, at the price of a linear merge.

    Limits: directions that cancel out (a mean of unit vectors shorter than `eps`) are averaged
    linearly.

    Cost: 2 walks over the inputs.
    """
    deltas = operands.base is not None
    if len(operands.models) == 1:
        return Blend((1.0,))
    total = nonzero_sum(weight) if normalize_weights else 1.0
    shares = [w / total for w in weight]
    products = gram(operands, deltas=deltas)
    sizes = lengths(products)
    longer = [size + eps if size else 1.0 for size in sizes]
    units = [w * size / n for w, size, n in zip(shares, sizes, longer, strict=True)]
    length = length_of(units, cosines(products))
    if length <= eps:
        return Blend(tuple(shares), deltas=deltas)
    stretch = dot(shares, sizes) / length * math.cos(eps)
    return Blend(tuple(stretch * w / n for w, n in zip(shares, longer, strict=True)), deltas=deltas)
