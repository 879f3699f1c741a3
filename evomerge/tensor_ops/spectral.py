"""Singular values and vectors of large matrices from small ones, in float64.

A matrix is taken upright (rows ≥ columns). Its singular values S and right vectors V come from the
eigenvalues of AᵀA, and its left vectors U = A·V/S are never kept: they are made slab by slab of
rows where they are needed. So the memory beyond the float32 inputs is a few squares of the
smaller dimension. Squaring costs half of the digits of small singular values: what is below about
1e-6 of the largest counts as zero, and vectors of zero singular values are left out.
"""

from collections.abc import Callable, Iterable, Iterator
from math import nan, prod

import torch
from torch import Tensor

SLAB = 1 << 20
"""Elements of a slab of rows: 8 MiB of float64."""

Slabs = Iterable[tuple[slice, Tensor]]
"""A matrix's rows slab by slab, float64, each with its place."""


def upright(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """View a flat tensor of this shape as the matrix (first, rest), turned so that it is tall."""
    matrix = flat.view(shape[0], prod(shape[1:]))
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def smaller_side(shape: tuple[int, ...]) -> int:
    """Smaller dimension of a tensor taken as the matrix (first, rest); 0 where it is none."""
    return min(shape[0], prod(shape[1:])) if len(shape) > 1 else 0


def slabs(*matrices: Tensor) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield the rows of matrices of one shape slab by slab, as float64, with their place."""
    rows, columns = matrices[0].shape
    step = max(1, SLAB // max(1, columns))
    for start in range(0, rows, step):
        place = slice(start, min(rows, start + step))
        yield place, [matrix[place].to(torch.float64) for matrix in matrices]


def column_gram(rows: Iterable[Tensor]) -> Tensor:
    """Return AᵀA, float64, of a matrix given slab by slab; at least one slab."""
    products = (slab.T @ slab for slab in rows)
    total = next(products)
    for product in products:
        total += product
    return total


def decompose(
    gram: Tensor, most: int | None = None, *, beside: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return singular values and right vectors of a matrix A from AᵀA.

    Args:
        gram: AᵀA, float64, shape (n, n).
        most: how many to keep at most; None keeps all.
        beside: a singular value beside which others may be noise, as A's own largest one is.

    Returns:
        S, shape (r,), descending and none of them zero; V, shape (n, r). One NaN each where `gram`
        is not finite.
    """
    if not bool(gram.isfinite().all()):
        return gram.new_full((1,), nan), gram.new_full((len(gram), 1), nan)
    squares, vectors = _eigenvectors(gram)
    squares, vectors = squares.flip(0)[:most], vectors.flip(1)[:, :most]
    noise = 4.0 * len(gram) * torch.finfo(gram.dtype).eps
    rank = int((squares > squares[:1].clamp(min=beside**2) * noise).sum())
    return squares[:rank].sqrt(), vectors[:, :rank]


def multiply_orthogonal(
    left: Callable[[], Slabs], sizes: Tensor, right: Tensor, out: Tensor
) -> None:
    """Write U⊥·Σ·V⊥ᵀ, with the orthogonal matrices nearest to U and V (Procrustes), into `out`.

    A·(AᵀA)^(-1/2) is PQᵀ of A = PDQᵀ; directions in which A vanishes stay zero.

    Args:
        left: gives U slab by slab, shape (rows, k); called twice.
        sizes: diagonal of Σ, float64, shape (k,).
        right: V, float64, shape (columns, k).
        out: float32, shape (rows, columns).
    """
    core = _inverse_root(column_gram(rows for _, rows in left())) * sizes
    core = core @ _inverse_root(right.T @ right) @ right.T
    for place, rows in left():
        out[place] = rows @ core


def _eigenvectors(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose in one thread: LAPACK's bits depend on how many there are."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        values, vectors = torch.linalg.eigh(gram)
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
    return values, vectors


def _inverse_root(gram: Tensor) -> Tensor:
    sizes, vectors = decompose(gram)
    return (vectors / sizes) @ vectors.T
