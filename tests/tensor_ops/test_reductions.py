"""Sums and inner products in float64: the same bits for any number of threads and any blocks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evomerge.tensor_ops.blocks import Scratch, gather
from evomerge.tensor_ops.reductions import ROW, fixed_order_dot, fixed_order_sum, gram, row_gram


def draw(count: int, *shape: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count + sum(shape))
    return [torch.randn(shape, generator=generator) * scale for _ in range(count)]


@pytest.mark.parametrize("size", [0, 1, ROW - 1, ROW, ROW + 1, 100_003])
def test_a_sum_has_the_same_bits_for_any_number_of_threads(size: int) -> None:
    (values,) = draw(1, size, scale=1e3)
    threads = torch.get_num_threads()
    try:
        sums = []
        for count in (1, 2):
            torch.set_num_threads(count)
            sums.append(fixed_order_sum(values))
    finally:
        torch.set_num_threads(threads)
    assert sums[0] == sums[1]
    exact = math.fsum(values.tolist())
    assert sums[0] == pytest.approx(exact, rel=1e-12, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(size=st.integers(0, 20_000), rows=st.integers(1, 7), seed=st.integers(0, 99))
def test_a_sum_goes_on_from_block_to_block_with_the_same_bits(
    size: int, rows: int, seed: int
) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    running = 0.0
    for piece in values.split(rows * ROW):
        running = fixed_order_sum(piece, running)
    assert running == fixed_order_sum(values)


def test_products_of_float32_are_exact_and_do_not_overflow() -> None:
    huge = torch.tensor([1e20, -3e38, 1e-30])
    exact = math.fsum(float(x) * float(x) for x in huge)
    assert fixed_order_dot(huge, huge) == exact
    tiny = torch.tensor([1e-30, 1e-25])
    assert fixed_order_dot(tiny, tiny) == math.fsum(float(x) ** 2 for x in tiny) > 0.0


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("block", [ROW, 3 * ROW, 1 << 17])
def test_gram_holds_all_inner_products(based: bool, deltas: bool, block: int) -> None:
    if deltas and not based:
        return
    base, *models = draw(4, 70, 71)
    operands = gather(models, base if based else None, scratch=Scratch(block))
    vectors = [m - base for m in models] if deltas else [*models, *([base] if based else [])]
    rows = torch.stack([v.flatten().double() for v in vectors])
    found = torch.tensor(gram(operands, deltas=deltas), dtype=torch.float64)
    torch.testing.assert_close(found, rows @ rows.T, rtol=1e-12, atol=1e-9)
    whole = gather(models, base if based else None)
    assert gram(whole, deltas=deltas) == gram(operands, deltas=deltas)


@pytest.mark.parametrize("shape", [(9, 31), (1, 17), (6, 1), (3, 1024)])
def test_row_gram_is_the_gram_matrix_of_each_row(shape: tuple[int, int]) -> None:
    matrices = draw(3, *shape)
    stacked = torch.stack([matrix.double() for matrix in matrices])
    exact = torch.einsum("irk,jrk->ijr", stacked, stacked)
    torch.testing.assert_close(row_gram(matrices), exact, rtol=1e-12, atol=1e-12)


def test_a_row_has_the_same_bits_beside_any_others() -> None:
    matrices = draw(2, 50, 96)
    parts = [row_gram([matrix[i : i + 7] for matrix in matrices]) for i in range(0, 50, 7)]
    assert torch.equal(torch.cat(parts, dim=2), row_gram(matrices))
