"""The best approximation of a matrix by one of low rank (Eckart & Young, 1936).

https://doi.org/10.1007/BF02288367. Singular vectors are eigenvectors of the smaller Gram matrix,
in float64. Where few of many are wanted, they are sought in a block Krylov space (Musco & Musco,
2015, https://arxiv.org/abs/1504.05477) that grows until it keeps no more of the matrix; its start
is always the same, so bits are the same on every run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 4096
"""Rows that are in float64 at a time."""
NEGLIGIBLE = 1e-7
"""Singular values below this share of the largest are float32's rounding, not the matrix."""

DIRECT = 1024
"""Up to this many rows or columns all singular values are computed."""
FEW = 32
"""So are they where more than one in so many is wanted: faster than a large Krylov space."""
OVERSAMPLING = 8
CONVERGED = 1e-6
"""A Krylov space is large enough when growing it adds less than this share to what is kept."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A matrix b @ a of low rank, and how much of another it keeps.

    Attributes:
        b: shape (outputs, rank), float32.
        a: shape (rank, inputs), float32.
        kept: squared Frobenius norm of b @ a.
        total: squared Frobenius norm of the matrix that it approximates.
    """

    b: Tensor
    a: Tensor
    kept: float
    total: float

    @property
    def rank(self) -> int:
        """Number of columns of b."""
        return self.b.shape[1]

    @property
    def share(self) -> float:
        """Share of the squared norm that is kept, in [0, 1]; 1 for a matrix of zeros."""
        return min(1.0, self.kept / self.total) if self.total else 1.0


def truncate(
    matrix: Tensor, rank: int, *, epsilon: float = 0.0, distribute: bool = True
) -> LowRank:
    """Approximate a matrix by its largest singular values.

    Args:
        matrix: shape (outputs, inputs), floating.
        rank: most singular values that are kept.
        epsilon: those not above it are dropped, too.
        distribute: whether each factor carries the square root of the singular values; else `a`
            carries all of them and b's columns have length 1.

    Returns:
        Factors of at most `rank`; of rank 0 where nothing is above `epsilon`. Every pair's sign
        is such that the largest element of its vector on the smaller side is positive.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix
    singular, vectors = _leading(tall, rank)
    threshold = max(epsilon, NEGLIGIBLE * float(singular[0])) if len(singular) else 0.0
    singular = singular[singular > threshold]
    small = _fix_signs(vectors[:, : len(singular)])
    large = torch.cat([part.double() @ small for part in _pieces(tall)]) / singular
    left, right = (small, large.T) if wide else (large, small.T)
    root = singular.sqrt() if distribute else torch.ones_like(singular)
    kept = float(singular.square().sum())
    total = sum(float(part.double().square_().sum()) for part in _pieces(tall))
    b, a = left * root, (singular / root).unsqueeze(1) * right
    return LowRank(b.float().contiguous(), a.float().contiguous(), kept, total)


def concatenate(factors: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return factors (b, a) of the sum of products b_i @ a_i, exactly: the ranks add up."""
    return torch.cat([b for b, _ in factors], dim=1), torch.cat([a for _, a in factors])


def truncate_product(b: Tensor, a: Tensor, rank: int) -> LowRank:
    """Approximate b @ a by a product of rank `rank`, without ever forming it.

    Args:
        b: shape (outputs, any).
        a: shape (any, inputs).
        rank: of the result.
    """
    left, inner = torch.linalg.qr(b.double())
    right, outer = torch.linalg.qr(a.double().T)
    core = truncate(inner @ outer.T, rank)
    grown_b, grown_a = left @ core.b.double(), core.a.double() @ right.T
    return LowRank(grown_b.float(), grown_a.float().contiguous(), core.kept, core.total)


def _leading(tall: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the largest singular values, falling, and their right vectors as columns; float64."""
    size = tall.shape[1]
    if size > DIRECT and rank <= size // FEW and (found := _search_krylov(tall, rank)):
        return found
    return _read_off(_gram(tall), rank)


def _search_krylov(tall: Tensor, rank: int) -> tuple[Tensor, Tensor] | None:
    """Return as `_leading` does; None where the space would have to grow too large."""
    size, width = tall.shape[1], rank + OVERSAMPLING
    start = torch.randn(size, width, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start.double())[0]
    images, kept = [], 0.0
    for _ in range(size // 3 // width):
        images.append((tall @ basis[:, -width:].to(tall.dtype)).double())
        image = torch.cat(images, dim=1)
        singular, mixture = _read_off(image.T @ image, rank)
        before, kept = kept, float(singular.square().sum())
        if kept - before <= CONVERGED * kept:
            return singular, basis @ mixture
        block = (tall.T @ images[-1].to(tall.dtype)).double()
        for _ in range(2):  # once leaves what rounding put there
            block = torch.linalg.qr(block - basis @ (basis.T @ block))[0]
        basis = torch.cat([basis, block], dim=1)
    return None


def _read_off(gram: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(gram)
    return values.clamp(min=0).sqrt_().flip(0)[:rank], vectors.flip(1)[:, :rank]


def _pieces(tall: Tensor) -> Iterator[Tensor]:
    return (tall[start : start + ROWS] for start in range(0, len(tall), ROWS))


def _gram(tall: Tensor) -> Tensor:
    gram = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64)
    for part in _pieces(tall):
        rows = part.double()
        gram.addmm_(rows.T, rows)
    return gram


def _fix_signs(vectors: Tensor) -> Tensor:
    if not vectors.numel():
        return vectors
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * largest.sign()
