"""Arcee Fusion: take over the most important changes only (Arcee AI, 2024; MergeKit).

https://arcee.ai
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.methods.spec import merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.quantile import find_largest

EPSILON = 1e-8
"""Added to every probability, as in the original: bounds the logarithm of their ratio."""


@merge_method("arcee_fusion", base="required", max_models=1, granularity="rows")
def arcee_fusion(operands: Operands) -> Formula:
    """Replace the base's weights by the other model's where a change matters most.

    The importance of an element is |b - a| times the Kullback-Leibler divergence between the
    softmax of its row in the other model, b, and in the base, a. Elements are replaced whose
    importance reaches median + 1.5 interquartile ranges of the tensor, counted over all of its
    elements.

    Use it when a fine-tuned model should change the base in few places; there is nothing to tune.

    Limits: two models; a tensor whose changes are all of one size is hardly changed, or wholly.

    Cost: 4 walks over the inputs, the first of them with two softmaxes.
    """
    importances = Importances(operands, _diverge(operands))
    threshold = _find_threshold(importances)

    def formula(block: Block) -> Tensor:
        importance = importances.of(block)
        (other,) = block.models
        torch.where(importance >= threshold, other, block.base, out=block.spare)
        return block.spare.add_(importance.mul_(0.0))  # nothing, unless it is NaN: that must show

    return formula


@dataclass(frozen=True, slots=True)
class Importances:
    """Importance of each element, float32, block by block."""

    operands: Operands
    divergences: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.of, self.operands.walk())

    def of(self, block: Block) -> Tensor:
        """Return the importances of a block of whole rows."""
        width = _width(self.operands)
        change = (block.models[0] - block.base).abs_().to(torch.float64).view(-1, width)
        first = block.start // width
        change.mul_(self.divergences[first : first + len(change), None])
        return change.to(torch.float32).view(-1)


def _diverge(operands: Operands) -> Tensor:
    """Return Σ p·log(p/q) of each row, float64, p and q being softmax + 1e-8 of model and base.

    As p and q have the same sum it is Σ p·log(p/q) - (p - q), of which no term is negative.
    """
    width = _width(operands)
    # nothing small may outlive a block: it would stand between what blocks give back
    found = torch.zeros(
        operands.numel // width, dtype=torch.float64, device=operands.scratch.device
    )
    for block in operands.walk():
        p, q = (
            torch.softmax(tensor.view(-1, width).to(torch.float64), dim=1).add_(EPSILON)
            for tensor in (block.models[0], block.base)
        )
        change = p.sub_(q).div_(q)
        terms = torch.log1p(change).mul_(1.0 + change).sub_(change).mul_(q)
        first = block.start // width
        torch.sum(terms, dim=1, out=found[first : first + len(terms)])
    return found.clamp_(min=0.0)


def _find_threshold(importances: Importances) -> float:
    """Return median + 1.5·(q₃ - q₁), the order statistics at ⌊q·(n-1)⌋."""
    size = importances.operands.numel
    if not size:
        return 0.0
    ranks = [size - share * (size - 1) // 4 for share in (1, 2, 3)]
    low, median, high = find_largest(importances, ranks)
    return median + 1.5 * (high - low)


def _width(operands: Operands) -> int:
    return max(1, operands.shape[-1]) if operands.shape else 1
