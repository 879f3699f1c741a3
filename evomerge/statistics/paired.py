"""Exact paired comparison of two models on the same items.

On right/wrong items the sign test is McNemar's exact test (McNemar, 1947): only items on which
the two disagree carry information.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Wins, losses and ties of A against B over common items, and the two-sided exact p."""

    wins: int
    losses: int
    ties: int
    p_value: float


def paired_sign_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Two-sided exact sign test of paired scores, higher is better.

    Args:
        a: scores of A, shape (items,).
        b: scores of B on the same items, shape (items,).

    Returns:
        The counts and p = min(1, 2·P[Bin(wins + losses, 1/2) ≤ min(wins, losses)]).

    Raises:
        ValueError: the scores belong to different items.
    """
    ours, theirs = np.asarray(a, float), np.asarray(b, float)
    if ours.shape != theirs.shape:
        raise ValueError(f"paired scores need the same items, not {len(ours)} and {len(theirs)}")
    difference = ours - theirs
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    informative = wins + losses
    p_value = min(1.0, 2 * _count_outcomes(informative, min(wins, losses)) / 2**informative)
    return PairedTest(wins, losses, len(difference) - informative, p_value)


def _count_outcomes(flips: int, most: int) -> int:
    """Count the ways in which at most `most` of `flips` coins show heads, exactly."""
    ways = total = 1
    for heads in range(most):
        ways = ways * (flips - heads) // (heads + 1)
        total += ways
    return total


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for several comparisons (Holm, 1979).

    Returns:
        Adjusted p-values in the order given, each at least the raw one and at most 1.
    """
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted
