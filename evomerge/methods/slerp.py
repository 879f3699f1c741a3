"""Slerp: spherical linear interpolation between the base and one other model (Shoemake, 1985).

https://doi.org/10.1145/325165.325242
"""

import math

from torch import Tensor

from evomerge.methods.spec import Fraction, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands, fixed_order_sum
from evomerge.tensor_ops.interpolation import slerp_factors, weighted_sum


@merge_method("slerp", base="required", max_models=1)
def slerp(operands: Operands, *, t: Fraction) -> Formula:
    """Rotate from the base (t = 0) to the other model (t = 1), each tensor as one flat vector."""
    dot = base_square = other_square = 0.0
    for block in operands.walk():
        (other,) = block.models
        dot += fixed_order_sum(other * block.base)
        base_square += fixed_order_sum(block.base.square_())
        other_square += fixed_order_sum(other.square_())
    factors = slerp_factors(t, dot, math.sqrt(base_square), math.sqrt(other_square))

    def formula(block: Block) -> Tensor:
        return weighted_sum([block.base, *block.models], factors, block.spare)

    return formula
