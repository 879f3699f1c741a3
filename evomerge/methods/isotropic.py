"""Isotropic merging (Marczak et al., 2025): all directions of the merged change alike in size.

https://arxiv.org/abs/2502.04959
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from evomerge.methods.spec import Fraction, PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.spectral import (
    column_gram,
    decompose,
    multiply_orthogonal,
    slabs,
    smaller_side,
    upright,
)


@merge_method("iso_c", base="required", zero_gives_base=True, granularity="tensor")
def iso_c(
    operands: Operands,
    *,
    weight: PerModel[Weight] = 1.0,  # type: ignore[assignment]  # one value stands for all
    lambda_: Scale = 1.0,
) -> Formula:
    """Add up the task vectors and give all singular values of the sum their mean.

    With Σ wᵢδᵢ = USVᵀ a matrix becomes θ₀ + λ·mean(S)·UVᵀ; a vector becomes
    θ₀ + λ·mean(wᵢδᵢ). Tensors of more dimensions are matrices (first, rest).

    Use it when you merge fine-tunes for several tasks, and the few directions that dominate the
    sum would drown the others. Tune `lambda`.
    Limits: noise counts as much as signal, so that changes of low rank (merged LoRA) suffer;
    directions of zero size are left out.
    Walks over the inputs: 1, with whole tensors in memory: 4 bytes per element and operand, and
    about 40·n² bytes, n being the smaller dimension. One eigenvalue problem of size n.
    """

    def formula(block: Block) -> Tensor:
        deltas = [d.mul_(w) for d, w in zip(block.deltas(), weight, strict=True)]
        merged = torch.sum(torch.stack(deltas), dim=0, out=block.spare)
        if not smaller_side(operands.shape):
            return merged.mul_(lambda_ / len(deltas)).add_(block.base)
        matrix = upright(merged, operands.shape)
        sizes, right = decompose(column_gram(rows for _, (rows,) in slabs(matrix)))
        flatten = (right / sizes) @ right.T * (lambda_ * _mean(sizes))
        for place, (rows,) in slabs(matrix):
            matrix[place] = rows @ flatten
        return merged.add_(block.base)

    return formula


@merge_method("iso_cts", base="required", zero_gives_base=True, granularity="tensor")
def iso_cts(
    operands: Operands,
    *,
    weight: PerModel[Weight] = 1.0,  # type: ignore[assignment]  # one value stands for all
    common_space_fraction: Fraction = 0.8,
    lambda_: Scale = 1.0,
) -> Formula:
    """Merge as iso_c does, and keep a share of the directions for what each task has of its own.

    The first singular vectors of the sum, `common_space_fraction` of all, stay; what the task
    vectors have outside of them gives its first ones, equally many for each task. All are made
    orthogonal and given one size, the mean of their singular values.

    Use it when iso_c loses tasks that have little in common with the others.
    Limits: as for iso_c; about 2N + 4 eigenvalue problems.
    Walks over the inputs: 1, with whole tensors in memory: 4 bytes per element and operand, and
    about 100·n² bytes, n being the smaller dimension.
    """

    def formula(block: Block) -> Tensor:
        deltas = [d.mul_(w) for d, w in zip(block.deltas(), weight, strict=True)]
        merged = torch.sum(torch.stack(deltas), dim=0, out=block.spare)
        side = smaller_side(operands.shape)
        if not side:
            return merged.mul_(lambda_ / len(deltas)).add_(block.base)
        own = round((side - int(side * common_space_fraction)) / len(deltas))
        matrices = [upright(flat, operands.shape) for flat in (*deltas, merged)]
        _merge_subspaces(matrices, side - own * len(deltas), own, lambda_)
        return merged.add_(block.base)

    return formula


def _merge_subspaces(matrices: list[Tensor], common: int, own: int, scale: float) -> None:
    """Overwrite the last matrix, the sum of the others, by their merge (Algorithm 2)."""
    total = matrices[-1]
    sizes, right = decompose(column_gram(rows for _, (rows,) in slabs(total)), common)
    turn = right / sizes
    inside = [turn.new_zeros(len(sizes), total.shape[1]) for _ in matrices[:-1]]
    for _, (*parts, rows) in slabs(*matrices):
        for part, projected in zip(parts, inside, strict=True):
            projected.add_((rows @ turn).T @ part)  # UᵀΔᵢ with the common U

    def outside(index: int) -> Iterator[Tensor]:
        for _, (part, rows) in slabs(matrices[index], total):
            yield part - (rows @ turn) @ inside[index]

    tasks = [decompose(column_gram(outside(i)), own) for i in range(len(inside))]

    def left() -> Iterator[tuple[slice, Tensor]]:
        for place, (*parts, rows) in slabs(*matrices):
            shared = rows @ turn
            columns = [
                (part - shared @ seen) @ (v / s)
                for part, seen, (s, v) in zip(parts, inside, tasks, strict=True)
            ]
            yield place, torch.cat([*columns, shared], dim=1)

    spectrum = torch.cat([*(s for s, _ in tasks), sizes])
    basis = torch.cat([*(v for _, v in tasks), right], dim=1)
    multiply_orthogonal(left, torch.full_like(spectrum, scale * _mean(spectrum)), basis, out=total)


def _mean(sizes: Tensor) -> float:
    return float(sizes.mean()) if len(sizes) else 0.0
