"""RAM: reinforced agent merging (Yuan et al., 2026): changes are shared or a model's own.

https://arxiv.org/abs/2601.13572
"""

from typing import Annotated

import torch
from torch import Tensor

from evomerge.methods.spec import Fraction, Range, Search, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands

Distance = Annotated[float, Range(0.0), Search(0.0, 1e-3)]
Gain = Annotated[float, Range(0.0), Search(0.0, 1.0)]


@merge_method("ram", base="required")
def ram(operands: Operands, *, epsilon: Distance = 1e-5) -> Formula:
    """Keep whole what one model alone changed, average what several changed.

    A model changed an element if its task vector is larger than `epsilon` there; the changes are
    averaged over the models that have one.

    Use it when models are trained by reinforcement learning for different tasks: their sparse
    task vectors hardly overlap, and a plain average would shrink each of them.

    Limits: `epsilon` has the unit of the weights; dense task vectors overlap everywhere, and RAM
    becomes their average.

    Cost: 1 walk over the inputs.
    """
    return _formula(operands, [1.0] * len(operands.models), epsilon)


@merge_method("ramplus_tl", base="required")
def ramplus_tl(
    operands: Operands, *, r: Gain = 0.1, alpha: Fraction = 0.2, epsilon: Distance = 1e-5
) -> Formula:
    """Merge as RAM does, and strengthen a model's own changes where it shares many others.

    What one model alone changed is multiplied by 1 + r·min(ratio, alpha), where ratio is that of
    its shared to its own changes in the tensor.

    Use it when RAM loses too much of what the averaging of shared changes thins out.

    Limits: as for ram; the ratio is that of each tensor, not of the whole model.

    Cost: 2 walks over the inputs.
    """
    ratios = _count_shares(operands, epsilon)
    return _formula(operands, [1.0 + r * min(ratio, alpha) for ratio in ratios], epsilon)


def _formula(operands: Operands, gains: list[float], epsilon: float) -> Formula:
    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        changed, count = _find_changes(operands, deltas, epsilon)
        alone = operands.scratch.take("alone", len(count), torch.bool)
        torch.eq(count, 1.0, out=alone)
        merged = block.spare.zero_()
        for delta, own, gain in zip(deltas, changed, gains, strict=True):
            delta.mul_(own)
            if gain != 1.0:
                delta.mul_(own.copy_(alone).mul_(gain - 1.0).add_(1.0))
            merged.add_(delta)
        return merged.div_(count.clamp_(min=1.0)).add_(block.base)

    return formula


def _count_shares(operands: Operands, epsilon: float) -> list[float]:
    """Return each model's ratio of changes that others share to changes of its own."""
    own = [0] * len(operands.models)
    shared = list(own)
    for block in operands.walk():
        changed, count = _find_changes(operands, block.deltas(), epsilon)
        alone = count == 1.0
        for i, change in enumerate(changed):
            total = int(change.sum(dtype=torch.float64))
            single = int(change.mul_(alone).sum(dtype=torch.float64))
            own[i] += single
            shared[i] += total - single
    return [s / o if o else float(s > 0) for s, o in zip(shared, own, strict=True)]


def _find_changes(
    operands: Operands, deltas: list[Tensor], epsilon: float
) -> tuple[list[Tensor], Tensor]:
    """Tell for each model where it changed the base (1, else 0), and count the models that did."""
    take, length = operands.scratch.take, len(deltas[0])
    count = take("count", length).zero_()
    changed = []
    for i, delta in enumerate(deltas):
        size = torch.abs(delta, out=take(f"changed {i}", length))
        changed.append(torch.gt(size, epsilon, out=size))
        count.add_(size)
    return changed, count
