"""SCE: select, calculate, erase (Wan et al., 2024, FuseChat).

https://arxiv.org/abs/2408.07990
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.methods.spec import Fraction, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.consensus import Election, Thinning, blend_agreeing
from evomerge.tensor_ops.quantile import MagnitudeCut, find_magnitude_cuts
from evomerge.tensor_ops.reductions import fixed_order_dot, gram


@merge_method("sce", base="required")
def sce(operands: Operands, *, select_topk: Fraction = 1.0) -> Formula:
    """Keep the elements models disagree on, weigh models by what they changed, elect signs.

    Select: of the elements in which the models differ at all, the share `select_topk` with the
    largest variance between the models stays; equal variances in index order. Calculate: each
    model's weight for a tensor is the squared length of what is left of its task vector.
    Erase: per element, entries against the sign of the sum of the task vectors are dropped, the
    weighted average of the others is added to the base.

    Use it when models bring different skills and you do not want to tune weights; `select_topk`
    of 0.1 to 0.5 keeps only what sets the models apart.

    Limits: the weights follow from the models alone; with `select_topk` below 1 a single model
    has no variance and gives the base.

    Cost: 2 walks over the inputs; with `select_topk` below 1 it is 5, one more where a tie is cut.
    """
    cut = _select(operands, select_topk)
    weights = _calculate(operands, cut)
    if cut is None:
        everything = (Thinning(),) * len(weights)
        return Election(tuple(weights), everything, "plain", normalize=True)

    def formula(block: Block) -> Tensor:
        deltas = _keep(operands, block, cut)
        merged = blend_agreeing(deltas, weights, normalize=True, votes="plain", out=block.spare)
        return merged.add_(block.base)

    return formula


@dataclass(frozen=True, slots=True)
class Deviations:
    """The standard deviation between the models, up to a factor, block by block."""

    operands: Operands

    def __iter__(self) -> Iterator[Tensor]:
        return (_deviate(self.operands, block.models) for block in self.operands.walk())


def _deviate(operands: Operands, models: list[Tensor]) -> Tensor:
    """Return √(n·Σe² - (Σe)²) with e = xᵢ - x₀, n times the deviation; the base cancels out.

    In float64 this is exact for half precision inputs, and never below Σe², so nothing cancels.
    """
    take, length = operands.scratch.take, len(models[0])
    total = take("sum", length, torch.float64).zero_()
    squares = take("squares", length, torch.float64).zero_()
    offset = take("offset", length, torch.float64)
    for model in models[1:]:
        offset.copy_(model).sub_(models[0])
        total.add_(offset)
        squares.addcmul_(offset, offset)
    variance = squares.mul_(len(models)).sub_(total.square_())
    return take("deviation", length).copy_(variance.clamp_(min=0.0).sqrt_())


def _select(operands: Operands, share: float) -> MagnitudeCut | None:
    """Return the cut of the deviations; None keeps all."""
    if share >= 1.0:
        return None
    deviations = Deviations(operands)
    differing = sum(int(block.count_nonzero()) for block in deviations)
    kept = int(share * differing + 1e-6)  # 0.7 of 350 are 245, though not in floating point
    if not kept:
        return MagnitudeCut(float("inf"), -1)
    return find_magnitude_cuts(deviations, [kept])[0]


def _keep(operands: Operands, block: Block, cut: MagnitudeCut | None) -> list[Tensor]:
    """Return the task vectors, zero where they are not selected."""
    if cut is None:
        return block.deltas()
    kept = cut.keeps(_deviate(operands, block.models), block.start)
    return [delta.mul_(kept) for delta in block.deltas()]


def _calculate(operands: Operands, cut: MagnitudeCut | None) -> list[float]:
    """Return the models' weights, which add up to one; all zero where nothing is left."""
    energies = [0.0] * len(operands.models)
    if cut is None:
        energies = [row[i] for i, row in enumerate(gram(operands, deltas=True))]
    for block in operands.walk() if cut else ():
        for i, delta in enumerate(_keep(operands, block, cut)):
            energies[i] = fixed_order_dot(delta, delta, energies[i])
    total = sum(energies) or 1.0
    return [energy / total for energy in energies]
