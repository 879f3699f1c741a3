"""Linear: weighted average of models, the "model soup" (Wortsman et al., 2022).

https://arxiv.org/abs/2203.05482
"""

from evomerge.methods.spec import PerModel, Weight, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, relative


@merge_method("linear")
def linear(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    weight: PerModel[Weight],
    normalize: bool = True,
) -> Formula:
    """Weighted average of the models: Σ wᵢxᵢ / Σ wᵢ (without the division if not `normalize`)."""
    if not normalize:
        return Blend(tuple(weight))
    weights, _ = relative(weight)
    return Blend(weights, divisor=sum(weights))
