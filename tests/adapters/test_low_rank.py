"""Truncation is the best there is, says what it loses, and factors can be added without loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evomerge.adapters.low_rank import concatenate, truncate, truncate_product

SIZES = st.integers(1, 24)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def best(matrix: Tensor, rank: int) -> Tensor:
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u[:, :rank] * s[:rank] @ v[:rank]


@settings(deadline=None, max_examples=40)
@given(outputs=SIZES, inputs=SIZES, rank=st.integers(1, 30), seed=st.integers(0, 99))
def test_truncation_is_the_singular_value_decompositions(
    outputs: int, inputs: int, rank: int, seed: int
) -> None:
    matrix = random(seed, outputs, inputs)
    found = truncate(matrix, rank)
    assert found.rank == min(rank, outputs, inputs)
    expected = best(matrix, rank)
    assert (found.b.double() @ found.a.double() - expected).norm() <= 1e-5 * matrix.norm()
    lost = (matrix.double() - expected).square().sum() / matrix.double().square().sum()
    assert 1 - found.share == pytest.approx(float(lost), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(outputs=SIZES, inputs=SIZES, distribute=st.booleans(), seed=st.integers(0, 99))
def test_scale_is_shared_or_left_to_a(
    outputs: int, inputs: int, distribute: bool, seed: int
) -> None:
    found = truncate(random(seed, outputs, inputs), 4, distribute=distribute)
    lengths_b, lengths_a = found.b.norm(dim=0), found.a.norm(dim=1)
    torch.testing.assert_close(lengths_b, lengths_a if distribute else torch.ones(found.rank))


def test_signs_and_bits_are_the_same_every_time_and_for_the_negative() -> None:
    matrix = random(5, 40, 30)
    one, two = truncate(matrix, 6), truncate(matrix.clone(), 6)
    assert torch.equal(one.a, two.a)
    assert torch.equal(one.b, two.b)
    negative = truncate(-matrix, 6)
    torch.testing.assert_close(negative.a, one.a)
    torch.testing.assert_close(negative.b, -one.b)
    assert (one.a.gather(1, one.a.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_small_singular_values_are_dropped_where_asked() -> None:
    matrix = torch.diag(torch.tensor([5.0, 3.0, 1.0, 0.5]))
    assert truncate(matrix, 4, epsilon=1.0).rank == 2
    assert truncate(matrix, 4, epsilon=0.0).rank == 4
    assert truncate(matrix, 4, epsilon=9.0).rank == 0


def test_what_is_not_there_has_no_rank() -> None:
    nothing = truncate(torch.zeros(6, 4), 3)
    assert nothing.rank == 0
    assert nothing.share == 1.0
    assert nothing.b.shape == (6, 0)
    assert nothing.a.shape == (0, 4)
    product = random(1, 6, 2) @ random(2, 2, 4)
    assert truncate(product, 4).rank == 2


def test_a_matrix_taller_than_a_piece_is_read_in_pieces() -> None:
    matrix = random(3, 9000, 5)
    found = truncate(matrix, 5)
    torch.testing.assert_close(found.b @ found.a, matrix, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1100, 1300), (1300, 1100)])
@pytest.mark.parametrize(("true_rank", "rank"), [(60, 8), (60, 33), (3, 8)])
def test_the_few_leading_values_of_a_large_matrix_are_found(
    shape: tuple[int, int], true_rank: int, rank: int
) -> None:
    left, right = (torch.linalg.qr(random(k, size, true_rank))[0] for k, size in enumerate(shape))
    singular = 10 * torch.arange(1, true_rank + 1) ** -0.5
    matrix = left * singular @ right.T
    found = truncate(matrix, rank)
    assert found.rank == min(rank, true_rank)
    squares = singular.double().square()
    assert found.share == pytest.approx(float(squares[:rank].sum() / squares.sum()), abs=2e-6)
    error = (matrix - found.b @ found.a).double().square().sum() / squares.sum()
    assert float(error) == pytest.approx(1 - found.share, abs=2e-6)
    again = truncate(matrix.clone(), rank)
    assert torch.equal(again.a, found.a)


def test_a_large_matrix_without_leading_values_falls_back_on_all_of_them() -> None:
    matrix = torch.linalg.qr(random(1, 1100, 1030))[0]  # every singular value is 1
    found = truncate(matrix, 16)
    assert found.rank == 16
    assert found.share == pytest.approx(16 / 1030, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    outputs=SIZES,
    inputs=SIZES,
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    rank=st.integers(1, 12),
)
def test_a_product_is_truncated_as_its_matrix_would_be(
    outputs: int, inputs: int, ranks: list[int], rank: int
) -> None:
    factors = [(random(r, outputs, r), random(10 + r, r, inputs)) for r in ranks]
    b, a = concatenate(factors)
    whole = sum((left.double() @ right.double() for left, right in factors), torch.zeros(()))
    torch.testing.assert_close(b.double() @ a.double(), whole)
    found = truncate_product(b, a, rank)
    error = (found.b.double() @ found.a.double() - best(whole, rank)).norm()
    assert error <= 1e-5 * whole.norm()
    assert found.total == pytest.approx(float(whole.square().sum()), rel=1e-6)
