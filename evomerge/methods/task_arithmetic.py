"""Task arithmetic: add weighted task vectors to the base (Ilharco et al., 2023).

https://arxiv.org/abs/2212.04089
"""

from torch import Tensor

from evomerge.methods.spec import PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.consensus import blend_deltas


@merge_method("task_arithmetic", base="required", zero_gives_base=True)
def task_arithmetic(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    weight: PerModel[Weight],
    normalize: bool = False,
    lambda_: Scale = 1.0,
) -> Formula:
    """Base plus the weighted sum of task vectors: θ₀ + λ·Σ wᵢ(θᵢ - θ₀)."""

    def formula(block: Block) -> Tensor:
        merged = blend_deltas(block.deltas(), weight, normalize=normalize, out=block.spare)
        return merged.mul_(lambda_).add_(block.base)

    return formula
