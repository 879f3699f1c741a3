"""Slerp: spherical linear interpolation between the base and one other model (Shoemake, 1985).

https://doi.org/10.1145/325165.325242
"""

import math

from evomerge.methods.spec import Fraction, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions, slerp_factors
from evomerge.tensor_ops.reductions import gram


@merge_method("slerp", base="required", max_models=1)
def slerp(operands: Operands, *, t: Fraction) -> Formula:
    """Rotate from the base (t = 0) to the other model (t = 1), each tensor as one flat vector.

    Use it when two models are blended whose weights are far enough apart for an average to lose
    norm; a gradient of `t` over the layers is common.

    Limits: two models; closer than about 2 degrees, or just as close to opposite, they are
    blended linearly.

    Cost: 2 walks over the inputs.
    """
    (other, dot), (_, base) = gram(operands)
    factors = slerp_factors(t, dot, math.sqrt(base), math.sqrt(other))
    (start, end), divisor = as_fractions(factors)
    return Blend((end,), base=start, divisor=divisor)
