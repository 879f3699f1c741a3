"""NearSwap: take over the other model where it is near (alchemonaut, 2024).

https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001
"""

from typing import Annotated

import torch
from torch import Tensor

from evomerge.methods.spec import Range, Search, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands

Distance = Annotated[float, Range(0.0), Search(0.0, 0.01)]


@merge_method("nearswap", base="required", max_models=1)
def nearswap(
    operands: Operands,  # noqa: ARG001 - nothing to reduce
    *,
    t: Distance,
) -> Formula:
    """Move each weight of the base towards the other model's, by at most `t`.

    With the weight min(1, t/|a - b|) of the other model, b, the result is a + clamp(b - a, -t, t):
    b itself where the two are within `t` of each other.

    Use it when a strong base should take on a second model's small changes only; `t` has the unit
    of the weights, 0.0001 to 0.001 is usual.

    Limits: one `t` for all tensors of whatever scale, unless a filter says otherwise.

    Cost: 1 walk over the inputs.
    """

    def formula(block: Block) -> Tensor:
        (other,) = block.models
        merged = torch.sub(block.base, t, out=block.spare)
        torch.maximum(merged, other, out=merged)
        torch.minimum(merged, block.base.add_(t), out=merged)
        return merged.add_(other.sub_(other))  # nothing, unless it is infinite: that must show

    return formula
