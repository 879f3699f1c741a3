"""Vectors known by their inner products only.

Lengths, angles and means on a sphere follow from the Gram matrix of the inputs, so that a method
walks the tensors once and goes on with plain numbers, in float64. A combination Σ cᵢxᵢ is its
factors c; its length is √(cᵀGc).
"""

import math
from collections.abc import Sequence

Gram = list[list[float]]
"""Symmetric matrix of inner products, as `reductions.gram` gives it."""


def lengths(products: Gram) -> list[float]:
    """Euclidean length of each vector."""
    return [math.sqrt(row[i]) for i, row in enumerate(products)]


def cosines(products: Gram) -> Gram:
    """Cosines of the angles between the vectors; 0 where one of two is zero, 1 on the diagonal."""
    sizes = lengths(products)
    return [
        [
            1.0 if i == j and sizes[i] else _cosine(product, sizes[i], sizes[j])
            for j, product in enumerate(row)
        ]
        for i, row in enumerate(products)
    ]


def length_of(factors: Sequence[float], products: Gram) -> float:
    """Length of the combination with these factors, exact to about 1e-8 of its longest part."""
    return math.sqrt(max(0.0, dot(factors, project(factors, products))))


def project(factors: Sequence[float], products: Gram) -> list[float]:
    """Inner products of a combination with each of the vectors."""
    return [dot(row, factors) for row in products]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Add the products of two lists of numbers, rounding once."""
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def _cosine(product: float, left: float, right: float) -> float:
    return max(-1.0, min(1.0, product / (left * right))) if left and right else 0.0
