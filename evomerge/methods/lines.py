"""LiNeS: task vectors scaled linearly with depth (Wang et al., 2024).

https://arxiv.org/abs/2410.17146
"""

from typing import Annotated

from evomerge.methods.spec import PerModel, Range, Search, Weight, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions

Strength = Annotated[float, Range(), Search(0.0, 1.0)]


@merge_method("lines", base="required", zero_gives_base=True)
def lines(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    alpha: Strength = 0.5,
    beta: Strength = 0.5,
) -> Formula:
    """Add the weighted sum of task vectors, weaker in shallow layers than in deep ones.

    θ₀ + (alpha + beta·depth)·Σ wᵢδᵢ with depth 0 in the first layer and 1 in the last. What belongs
    to no layer (embeddings, final norm, head) has depth 0, as in the paper's own code.

    Use it when merging costs general abilities: shallow layers hold what all tasks share, so it
    pays to change them less. To scale another method so, write its `lambda` as a gradient:
    [alpha, alpha + beta].

    Limits: the depth is that of the result: layers that a recipe repeats have several.

    Cost: 1 walk over the inputs.
    """
    weights, divisor = as_fractions(weight)
    strength = alpha + beta * operands.depth
    return Blend(weights, deltas=True, divisor=divisor, scale=strength)
