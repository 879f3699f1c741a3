"""Linear: weighted average of models, the "model soup" (Wortsman et al., 2022).

https://arxiv.org/abs/2203.05482
"""

from torch import Tensor

from evomerge.methods.spec import PerModel, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.interpolation import weighted_sum


@merge_method("linear")
def linear(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    weight: PerModel[Weight],
    normalize: bool = True,
) -> Formula:
    """Weighted average of the models: Σ wᵢxᵢ / Σ wᵢ (without the division if not `normalize`)."""
    total = sum(weight) if normalize else 1.0

    def formula(block: Block) -> Tensor:
        return weighted_sum(block.models, weight, block.spare).div_(total)

    return formula
