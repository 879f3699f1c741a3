"""Singular values and vectors from inner products against decompositions of the matrices."""

import pytest
import torch
from torch import Tensor

from evomerge.tensor_ops import spectral
from evomerge.tensor_ops.spectral import (
    column_gram,
    decompose,
    multiply_orthogonal,
    slabs,
    smaller_side,
    upright,
)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "SLAB", 64)


@pytest.mark.parametrize(
    ("shape", "side", "matrix"),
    [((5, 3), 3, (5, 3)), ((3, 5), 3, (5, 3)), ((2, 3, 4), 2, (12, 2)), ((3, 0), 0, (3, 0))],
)
def test_any_tensor_is_an_upright_matrix(
    shape: tuple[int, ...], side: int, matrix: tuple[int, int]
) -> None:
    flat = torch.arange(float(torch.Size(shape).numel()))
    assert smaller_side(shape) == side
    assert upright(flat, shape).shape == matrix


def test_vectors_and_numbers_are_no_matrices() -> None:
    assert [smaller_side((7,)), smaller_side(())] == [0, 0]


def test_slabs_hold_every_row_once() -> None:
    matrix = draw(50, 7).float()
    rows = torch.cat([part for _, (part,) in slabs(matrix)])
    assert torch.equal(rows.float(), matrix)
    places = [place for place, _ in slabs(matrix)]
    assert len(places) > 3
    assert [row for place in places for row in range(50)[place]] == list(range(50))


def test_the_decomposition_is_that_of_the_matrix() -> None:
    matrix = draw(50, 7)
    sizes, right = decompose(column_gram(matrix.split(9)))
    torch.testing.assert_close(sizes, torch.linalg.svdvals(matrix))
    left = matrix @ right / sizes
    torch.testing.assert_close(left.T @ left, torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close((left * sizes) @ right.T, matrix)


def test_directions_of_zero_size_are_left_out() -> None:
    matrix = draw(50, 3) @ draw(3, 9)
    sizes, right = decompose(column_gram([matrix]), 5)
    assert (sizes.shape, right.shape) == ((3,), (9, 3))
    assert decompose(torch.zeros(4, 4, dtype=torch.float64))[1].shape == (4, 0)


def test_what_is_noise_beside_something_larger_is_left_out() -> None:
    gram = column_gram([draw(50, 3)])
    assert len(decompose(gram, beside=1e4)[0]) == 3
    assert len(decompose(gram, beside=1e12)[0]) == 0


def test_numbers_that_are_none_stay_visible() -> None:
    gram = draw(4, 4)
    gram[1, 2] = torch.nan
    sizes, right = decompose(gram)
    assert bool(sizes.isnan().all() & right.isnan().all())


def test_bits_do_not_depend_on_threads() -> None:
    gram = column_gram([draw(300, 90)])
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(decompose(gram)[1])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_factors_become_orthogonal_and_sizes_stay() -> None:
    left, right, sizes = draw(50, 4), draw(9, 4), draw(4).abs() + 1
    out = torch.empty(50, 9)

    def rows() -> list[tuple[slice, Tensor]]:
        return [(slice(0, 20), left[:20]), (slice(20, 50), left[20:])]

    multiply_orthogonal(rows, sizes, right, out)
    torch.testing.assert_close(
        torch.linalg.svdvals(out.double())[:4], sizes.sort(descending=True).values,
        rtol=1e-6, atol=1e-6,
    )  # fmt: skip
    u, _, v = torch.linalg.svd(left, full_matrices=False)
    x, _, y = torch.linalg.svd(right, full_matrices=False)
    exact = (u @ v * sizes) @ (x @ y).T
    torch.testing.assert_close(out.double(), exact, rtol=1e-6, atol=1e-6)
