"""Linear: weighted average of models, the "model soup" (Wortsman et al., 2022).

https://arxiv.org/abs/2203.05482
"""

from evomerge.methods.spec import PerModel, Weight, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions


@merge_method("linear")
def linear(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    weight: PerModel[Weight],
    normalize: bool = True,
) -> Formula:
    """Weighted average of the models: Σ wᵢxᵢ / Σ wᵢ (without the division if not `normalize`).

    Use it when the models are fine-tunes of one ancestor on much the same data: a safe first try.

    Limits: models of different ancestors do not average; task vectors shrink with their number.

    Cost: 1 walk over the inputs.
    """
    weights, divisor = as_fractions(weight)
    return Blend(weights, divisor=sum(weights) if normalize else divisor)
