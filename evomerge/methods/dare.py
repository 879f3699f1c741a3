"""DARE: drop entries of task vectors at random and rescale (Yu et al., 2024).

https://arxiv.org/abs/2311.03099
"""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from evomerge.methods.spec import Density, PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands, fixed_order_sum
from evomerge.tensor_ops.consensus import blend_agreeing, blend_deltas
from evomerge.tensor_ops.random_mask import keep_mask

Rescale = bool | Literal["paper"]


@merge_method("dare_linear", base="required", zero_gives_base=True, random=True)
def dare_linear(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    density: PerModel[Density] = 1.0,  # type: ignore[assignment]  # one value stands for all
    normalize: bool = False,
    rescale: Rescale = True,
    lambda_: Scale = 1.0,
) -> Formula:
    """Drop a random share of each task vector, rescale the rest, add the weighted sum.

    An entry is kept with probability `density`. `rescale: true` restores each tensor's L1 norm
    (as mergekit does), `rescale: paper` divides by the density, `false` leaves the rest as it is.
    """
    return _dare(operands, blend_deltas, weight, density, normalize, rescale, lambda_)


@merge_method("dare_ties", base="required", zero_gives_base=True, random=True)
def dare_ties(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    density: PerModel[Density] = 1.0,  # type: ignore[assignment]  # one value stands for all
    normalize: bool = False,
    rescale: Rescale = True,
    lambda_: Scale = 1.0,
) -> Formula:
    """Drop at random as in dare_linear, then elect a sign as in TIES and sum what agrees."""
    return _dare(operands, blend_agreeing, weight, density, normalize, rescale, lambda_)


def _dare(
    operands: Operands,
    blend: Callable[..., Tensor],
    weight: Sequence[float],
    density: Sequence[float],
    normalize: bool,
    rescale: Rescale,
    scale: float,
) -> Formula:
    factors = [_factor(operands, i, d, rescale) for i, d in enumerate(density)]

    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        for i, delta in enumerate(deltas):
            key = operands.mask_key(i)
            delta.mul_(keep_mask(key, block.start, len(delta), density[i])).mul_(factors[i])
        merged = blend(deltas, weight, normalize=normalize, out=block.spare)
        return merged.mul_(scale).add_(block.base)

    return formula


def _factor(operands: Operands, model: int, density: float, rescale: Rescale) -> float:
    if not rescale or density >= 1.0:
        return 1.0
    if rescale == "paper":
        return 1.0 / density
    before = after = 0.0
    for block in operands.only(model).walk():
        delta = block.deltas()[0].abs_()
        before += fixed_order_sum(delta)
        mask = keep_mask(operands.mask_key(model), block.start, len(delta), density)
        after += fixed_order_sum(delta.mul_(mask))
    return before / after if after else 1.0
