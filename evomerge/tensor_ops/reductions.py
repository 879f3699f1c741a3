"""Sums over tensors in float64, in one fixed order: the same bits for any threads and blocks.

Rows of 1024 elements are summed, then added one after another: a plain sum by halves (x[j] +
x[j + 512], and so on down to one number), products in eight lanes (x[j] + x[j + 8] + ...), and
the lanes by halves. Products of two float32 are exact in float64.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evomerge.tensor_ops import kernels
from evomerge.tensor_ops.blocks import Operands

ROW = 1 << 10
"""Elements that are summed at once; blocks start at multiples of it."""
LANES = 8
"""Of a row's products."""


def fixed_order_sum(values: Tensor, start: float = 0.0) -> float:
    """Add a 1-D tensor to `start` in float64, in an order that threads cannot change."""
    for row in _sum_rows(values.to(torch.float64)).tolist():
        start += row
    return start


def fixed_order_dot(left: Tensor, right: Tensor, start: float = 0.0) -> float:
    """Add the inner product of two 1-D float32 tensors to `start`, products exact."""
    for row in _add_lanes(left.to(torch.float64).mul_(right)).tolist():
        start += row
    return start


def gram(operands: Operands, *, deltas: bool = False) -> list[list[float]]:
    """Inner products of all operands with each other, in one walk.

    Args:
        operands: n models, perhaps a base.
        deltas: of task vectors (model - base) instead of models.

    Returns:
        A symmetric matrix, n × n; with a base and without `deltas` (n + 1) × (n + 1), the base
        last.
    """
    size = len(operands.models) + (operands.base is not None and not deltas)
    sums = kernels.gram(operands, deltas=deltas)
    if sums is None:
        sums = [[0.0] * size for _ in range(size)]
        for block in operands.walk():
            vectors = block.deltas() if deltas else [*block.models, *_origin(block.origin)]
            _add_products(vectors, sums)
    return [[sums[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)]


def row_gram(tensors: Sequence[Tensor]) -> Tensor:
    """Inner products of the rows of n matrices with each other, in a fixed order.

    Args:
        tensors: float32 matrices of one shape (rows, width).

    Returns:
        float64, shape (n, n, rows).
    """
    rows = [tensor.to(torch.float64) for tensor in tensors]
    products = rows[0].new_empty(len(rows), len(rows), len(rows[0]))
    for i, left in enumerate(rows):
        for j in range(i + 1):
            products[i, j] = products[j, i] = _halve(left * rows[j])
    return products


def _origin(base: Tensor | None) -> list[Tensor]:
    return [] if base is None else [base]


def _add_products(vectors: Sequence[Tensor], sums: list[list[float]]) -> None:
    for i, left in enumerate(vectors):
        for j in range(i + 1):
            sums[i][j] = fixed_order_dot(left, vectors[j], sums[i][j])


def _sum_rows(values: Tensor) -> Tensor:
    """Sum every 1024 elements by halves; zeros fill up the last."""
    return _halve(_fill_rows(values))


def _add_lanes(values: Tensor) -> Tensor:
    """Sum every 1024 elements in eight lanes, and those by halves; zeros fill up the last."""
    steps = _fill_rows(values).view(-1, ROW // LANES, LANES).transpose(0, 1)
    total = steps[0].clone()
    for step in steps[1:]:
        total += step
    return _halve(total)


def _fill_rows(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, -len(values) % ROW)).view(-1, ROW)


def _halve(values: Tensor) -> Tensor:
    """Sum over the last dimension by halves, zeros filling it up to a power of two."""
    width = max(1, values.shape[-1])
    values = torch.nn.functional.pad(
        values, (0, (1 << (width - 1).bit_length()) - values.shape[-1])
    )
    while values.shape[-1] > 1:
        half = values.shape[-1] // 2
        values = values[..., :half] + values[..., half:]
    return values[..., 0]
