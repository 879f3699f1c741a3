"""Passthrough: one model's tensor as it is, for stacking layers of several models."""

from torch import Tensor

from evomerge.methods.spec import PerModel, Scale, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands


@merge_method("passthrough", max_models=1)
def passthrough(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    scale: PerModel[Scale | None] = None,  # type: ignore[assignment]  # absent: as it is
) -> Formula:
    """Copy the tensor, multiplied by `scale` where one is given."""

    def formula(block: Block) -> Tensor:
        (model,) = block.models
        factor = scale[0] if scale else None
        return model if factor is None else model.mul_(factor)

    return formula
