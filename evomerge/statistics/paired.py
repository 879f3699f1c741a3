"""Exact paired comparison of two models on the same items.

On right/wrong items it is McNemar's exact test (McNemar, 1947): only items on which the two
disagree carry information. Where items weigh differently, or scores are more than right or wrong,
the sign-flip test asks the same of their weighted mean difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

OUTCOMES = 1 << 20
"""Most outcomes that are counted one by one; of more, some are drawn."""

SLACK = 1e-9
"""Relative difference below which two sums are the same number, rounded differently."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Wins, losses and ties of A against B over common items, and the two-sided exact p."""

    wins: int
    losses: int
    ties: int
    p_value: float


def sign_flip_test(
    differences: ArrayLike, weights: ArrayLike | None = None, *, seed: int = 0, draws: int = 49_999
) -> PairedTest:
    """Two-sided permutation test of a weighted mean difference (Fisher, 1935; Pitman, 1937).

    Were the two models alike, each item's difference would be as likely to be theirs as ours: p is
    the share of all 2^items ways to set the signs whose sum is as far from zero as the one that
    was found. All ways are counted where there are few (equal weighted differences count as one
    kind); else `draws` of them are drawn, and p = (as far + 1) / (draws + 1) never claims more
    than was seen (Phipson & Smyth, 2010, https://doi.org/10.2202/1544-6115.1585).

    Args:
        differences: of A's score and B's on each item, shape (items,).
        weights: of the items, shape (items,); equal when absent.
        seed: of the draws.
        draws: how many ways are drawn where there are too many to count.
    """
    found = np.asarray(differences, float)
    wins, losses = int((found > 0).sum()), int((found < 0).sum())
    pulls = found if weights is None else found * np.asarray(weights, float)
    pulls = pulls[pulls != 0]
    bar = abs(pulls.sum()) - SLACK * np.abs(pulls).sum()
    kinds, counts = _kinds(np.abs(pulls))
    if np.prod(counts + 1.0) <= OUTCOMES:
        p_value = _count_signs(kinds, counts.tolist(), bar)
    else:
        p_value = _draw_signs(np.abs(pulls), bar, seed, draws)
    return PairedTest(wins, losses, len(found) - wins - losses, p_value)


def _kinds(sizes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the different sizes and how often each stands there, up to rounding."""
    ordered = np.sort(sizes)
    first = np.diff(ordered, prepend=-1.0) > SLACK * ordered.max(initial=0.0)
    places = np.flatnonzero(first)
    return ordered[places], np.diff(places, append=len(ordered))


def _count_signs(kinds: NDArray[np.float64], counts: Sequence[int], bar: float) -> float:
    """Add up the chances of all sums that are at least `bar` away from zero."""
    sums, chances = np.zeros(1), np.ones(1)
    for size, count in zip(kinds, counts, strict=True):
        heads = np.arange(count + 1)
        ratios = np.log((count - heads[:-1]) / heads[1:])  # of neighbouring binomial coefficients
        odds = np.exp(np.append(0.0, np.cumsum(ratios)) - count * math.log(2))
        sums = np.add.outer(sums, size * (2 * heads - count)).ravel()
        chances = np.multiply.outer(chances, odds).ravel()
    return min(1.0, float(chances[np.abs(sums) >= bar].sum()))


def _draw_signs(sizes: NDArray[np.float64], bar: float, seed: int, draws: int) -> float:
    rng, total, far = np.random.default_rng(seed), sizes.sum(), 0
    step = max(1, OUTCOMES // len(sizes))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        signs = rng.integers(0, 2, size=(rows, len(sizes)), dtype=np.uint8)
        far += int((np.abs(2 * (signs @ sizes) - total) >= bar).sum())
    return (far + 1) / (draws + 1)


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
