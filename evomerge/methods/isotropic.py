"""Isotropic merging (Marczak et al., 2025): all directions of the merged change alike in size.

https://arxiv.org/abs/2502.04959
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from evomerge.methods.spec import Fraction, PerModel, Scale, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions, weighted_sum
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

    Cost: 1 walk over the inputs, with whole tensors in memory: 4 bytes per element and operand, and
    about 40·n² bytes, n being the smaller dimension. One eigenvalue problem of size n.
    """
    if not smaller_side(operands.shape):
        return _average(weight, lambda_)

    def formula(block: Block) -> Tensor:
        merged = weighted_sum(block.deltas(), weight, block.spare)
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

    Limits: as for iso_c; slower, with N + 3 eigenvalue problems.

    Cost: 1 walk over the inputs, with whole tensors in memory: 4 bytes per element and operand, and
    about 100·n² bytes, n being the smaller dimension.
    """
    side = smaller_side(operands.shape)
    if not side:
        return _average(weight, lambda_)
    count = len(weight)
    own = min(side // count, round((side - int(side * common_space_fraction)) / count))

    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        merged = weighted_sum(deltas, weight, block.spare)  # leaves wᵢδᵢ in deltas
        matrices = [upright(flat, operands.shape) for flat in (*deltas, merged)]
        turned = matrices[0].shape[0] != operands.shape[0]
        _merge_subspaces(matrices, side - own * count, own, lambda_, turned)
        return merged.add_(block.base)

    return formula


def _average(weight: Sequence[float], scale: float) -> Formula:
    weights, divisor = as_fractions(weight)
    return Blend(weights, deltas=True, divisor=divisor * len(weights), scale=scale)


def _merge_subspaces(
    matrices: list[Tensor], common: int, own: int, scale: float, turned: bool
) -> None:
    """Overwrite the last matrix, the sum of the others, by their merge (Algorithm 2)."""
    total = matrices[-1]
    sizes, right = decompose(column_gram(rows for _, (rows,) in slabs(total)), common)
    outside = Outside(matrices, right, right / sizes, turned)
    largest = float(sizes[0]) if len(sizes) else 0.0
    tasks = [
        decompose(column_gram(parts[i] for _, parts, _ in outside), own, beside=largest)
        for i in range(len(matrices) - 1)
    ]

    def left() -> Iterator[tuple[slice, Tensor]]:
        for place, parts, shared in outside:
            columns = [part @ (v / s) for part, (s, v) in zip(parts, tasks, strict=True)]
            yield place, torch.cat([*columns, shared], dim=1)

    spectrum = torch.cat([*(s for s, _ in tasks), sizes])
    basis = torch.cat([*(v for _, v in tasks), right], dim=1)
    multiply_orthogonal(left, torch.full_like(spectrum, scale * _mean(spectrum)), basis, out=total)


class Outside:
    """Task vectors without their part in the common space δᵢ - UUᵀδᵢ, slab by slab, and U.

    Args:
        matrices: the upright task vectors and their sum.
        right: V of the sum.
        turn: makes U of the sum's rows.
        turned: whether upright means transposed, so that the paper's U is this V.
    """

    def __init__(self, matrices: list[Tensor], right: Tensor, turn: Tensor, turned: bool) -> None:
        self._matrices, self._right, self._turn, self._turned = matrices, right, turn, turned
        self._inside = [] if turned else self._project()

    def __iter__(self) -> Iterator[tuple[slice, list[Tensor], Tensor]]:
        for place, (*parts, rows) in slabs(*self._matrices):
            shared = rows @ self._turn
            if self._turned:
                yield place, [part - part @ self._right @ self._right.T for part in parts], shared
            else:
                pairs = zip(parts, self._inside, strict=True)
                yield place, [part - shared @ inside for part, inside in pairs], shared

    def _project(self) -> list[Tensor]:
        """Return Uᵀδᵢ of each task vector."""
        shape = (self._turn.shape[1], self._matrices[0].shape[1])
        inside = [self._turn.new_zeros(shape) for _ in self._matrices[:-1]]
        for _, (*parts, rows) in slabs(*self._matrices):
            shared = rows @ self._turn
            for part, projected in zip(parts, inside, strict=True):
                projected.add_(shared.T @ part)
        return inside


def _mean(sizes: Tensor) -> float:
    return float(sizes.mean()) if len(sizes) else 0.0
