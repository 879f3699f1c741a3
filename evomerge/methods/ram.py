"""RAM: reinforced agent merging (Yuan et al., 2026): changes are shared or a model's own.

https://arxiv.org/abs/2601.13572
"""

from typing import Annotated

import torch
from torch import Tensor

from evomerge.methods.spec import Fraction, Range, Search, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.interpolation import weighted_sum

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
    Walks over the inputs: 1.
    """
    return _formula([1.0] * len(operands.models), epsilon)


@merge_method("ramplus_tl", base="required")
def ramplus_tl(
    operands: Operands, *, r: Gain = 0.1, alpha: Fraction = 0.2, epsilon: Distance = 1e-5
) -> Formula:
    """Merge as RAM does, and strengthen a model's own changes where it shares many others.

    What one model alone changed is multiplied by 1 + r·min(ratio, alpha), where ratio is that of
    its shared to its own changes in the tensor.

    Use it when RAM loses too much of what the averaging of shared changes thins out.
    Limits: as for ram; the ratio is that of each tensor, not of the whole model.
    Walks over the inputs: 2.
    """
    ratios = _count_shares(operands, epsilon)
    return _formula([1.0 + r * min(ratio, alpha) for ratio in ratios], epsilon)


def _formula(gains: list[float], epsilon: float) -> Formula:
    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        changed, count = _find_changes(deltas, epsilon)
        alone = count == 1
        for delta, own, gain in zip(deltas, changed, gains, strict=True):
            delta.mul_(own)
            if gain != 1.0:
                delta.mul_(torch.where(alone, gain, 1.0))
        merged = weighted_sum(deltas, [1.0] * len(deltas), block.spare)
        return merged.div_(count.clamp_(min=1)).add_(block.base)

    return formula


def _count_shares(operands: Operands, epsilon: float) -> list[float]:
    """Return each model's ratio of changes that others share to changes of its own."""
    own = [0] * len(operands.models)
    shared = list(own)
    for block in operands.walk():
        changed, count = _find_changes(block.deltas(), epsilon)
        alone = count == 1
        for i, change in enumerate(changed):
            own[i] += int((change & alone).sum())
            shared[i] += int((change & ~alone).sum())
    return [s / o if o else float(s > 0) for s, o in zip(shared, own, strict=True)]


def _find_changes(deltas: list[Tensor], epsilon: float) -> tuple[list[Tensor], Tensor]:
    """Tell for each model where it changed the base, and count the models that did."""
    changed = [delta.abs() > epsilon for delta in deltas]
    return changed, torch.stack(changed).sum(dim=0)
