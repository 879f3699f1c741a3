"""Passthrough: one model's tensor as it is, for stacking layers of several models."""

from evomerge.methods.spec import PerModel, Scale, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.interpolation import Blend


@merge_method("passthrough", max_models=1)
def passthrough(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    scale: PerModel[Scale | None] = None,  # type: ignore[assignment]  # absent: as it is
    shift: PerModel[Scale | None] = None,  # type: ignore[assignment]  # absent: as it is
) -> Formula:
    """Copy the tensor; where they are given, multiply it by `scale` and add `shift` to it.

    Use it when layers of several models are stacked into a deeper one (`slices:`), or to change a
    model's dtype. Unscaled tensors whose dtype stays are copied byte by byte.

    Limits: a stack of layers rarely works as well as its parents before it is trained on.

    Cost: 1 walk over the inputs.
    """
    factor, offset = scale[0] if scale else None, shift[0] if shift else None
    scaled = Blend((1.0 if factor is None else factor,))
    return scaled if offset is None else lambda block: scaled(block).add_(offset)
