"""TIES: trim, elect sign, disjoint merge (Yadav et al., 2023).

https://arxiv.org/abs/2306.01708
"""

from collections.abc import Iterator

from torch import Tensor

from evomerge.methods.spec import Density, PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands, fixed_order_sum
from evomerge.tensor_ops.consensus import blend_agreeing
from evomerge.tensor_ops.quantile import MagnitudeCut, find_magnitude_cut


@merge_method("ties", base="required", zero_gives_base=True)
def ties(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    density: PerModel[Density] = 1.0,  # type: ignore[assignment]  # one value stands for all
    normalize: bool = True,
    rescale: bool = False,
    lambda_: Scale = 1.0,
) -> Formula:
    """Keep each task vector's largest entries, elect a sign, average those that agree.

    Per tensor exactly max(1, ⌊density·n⌋) entries of each task vector survive; `rescale` restores
    the L1 norm they had together.
    """
    cuts = [_find_cut(operands, i, d) for i, d in enumerate(density)]
    scales = [_restore_norm(operands, i, cut) if rescale else 1.0 for i, cut in enumerate(cuts)]

    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        for delta, cut, scale in zip(deltas, cuts, scales, strict=True):
            if cut:
                cut.trim_(delta, block.start).mul_(scale)
        merged = blend_agreeing(deltas, weight, normalize=normalize, out=block.spare)
        return merged.mul_(lambda_).add_(block.base)

    return formula


def _find_cut(operands: Operands, model: int, density: float) -> MagnitudeCut | None:
    keep = max(1, int(density * operands.numel))
    if keep >= operands.numel:
        return None

    def deltas() -> Iterator[Tensor]:
        return (block.deltas()[0] for block in operands.only(model).walk())

    return find_magnitude_cut(deltas, keep)


def _restore_norm(operands: Operands, model: int, cut: MagnitudeCut | None) -> float:
    before = after = 0.0
    for block in operands.only(model).walk() if cut else ():
        assert cut is not None
        delta = block.deltas()[0]
        before += fixed_order_sum(delta.abs())
        after += fixed_order_sum(cut.trim_(delta, block.start).abs_())
    return before / after if after else 1.0
