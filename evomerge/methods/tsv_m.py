"""TSV-Merge: task singular vectors, made orthogonal to each other (Gargiulo et al., 2024).

https://arxiv.org/abs/2412.00081
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from evomerge.methods.spec import PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions
from evomerge.tensor_ops.spectral import (
    column_gram,
    decompose,
    multiply_orthogonal,
    slabs,
    smaller_side,
    upright,
)


@merge_method("tsv_m", base="required", zero_gives_base=True, granularity="tensor")
def tsv_m(
    operands: Operands,
    *,
    weight: PerModel[Weight] = 1.0,  # type: ignore[assignment]  # one value stands for all
    lambda_: Scale = 1.0,
) -> Formula:
    """Give each task its share of the strongest directions, and make them orthogonal.

    Of the singular vectors of each task vector wᵢδᵢ the first rank/N are kept; those of all tasks
    side by side, U and V, are replaced by the nearest orthogonal matrices, so that tasks do not
    interfere: θ₀ + λ·U⊥ΣV⊥ᵀ. Vectors, and matrices with fewer rows or columns than models, become
    θ₀ + λ·mean(wᵢδᵢ). Tensors of more dimensions are matrices (first, rest).

    Use it when you merge fine-tunes for different tasks: their task vectors are nearly of low
    rank, and the method keeps most of each.

    Limits: nothing of a task beyond its share of directions survives; slow, with N + 2 eigenvalue
    problems of size n, the smaller dimension.

    Cost: 1 walk over the inputs, with whole tensors in memory: 4 bytes per element and operand, and
    about 80·n² bytes.
    """
    share = smaller_side(operands.shape) // len(weight)
    if not share:
        weights, divisor = as_fractions(weight)
        return Blend(weights, deltas=True, divisor=divisor * len(weights), scale=lambda_)

    def formula(block: Block) -> Tensor:
        deltas = [d.mul_(w) for d, w in zip(block.deltas(), weight, strict=True)]
        matrices = [upright(delta, operands.shape) for delta in deltas]
        _merge(matrices, share, lambda_, out=upright(block.spare, operands.shape))
        return block.spare.add_(block.base)

    return formula


def _merge(matrices: list[Tensor], share: int, scale: float, out: Tensor) -> None:
    """Write U⊥ΣV⊥ᵀ times `scale` into `out` (Algorithm 1)."""
    parts = [
        decompose(column_gram(rows for _, (rows,) in slabs(matrix)), share) for matrix in matrices
    ]
    turns = [right / sizes for sizes, right in parts]

    def left() -> Iterator[tuple[slice, Tensor]]:
        for place, rows in slabs(*matrices):
            columns = [part @ turn for part, turn in zip(rows, turns, strict=True)]
            yield place, torch.cat(columns, dim=1)

    sizes = torch.cat([sizes for sizes, _ in parts])
    right = torch.cat([right for _, right in parts], dim=1)
    multiply_orthogonal(left, sizes * scale, right, out)
