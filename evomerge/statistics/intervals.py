"""95 % intervals for a mean score: Wilson for right/wrong items, bootstrap for the rest."""

import math

import numpy as np
from numpy.typing import ArrayLike

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_interval(proportion: float, items: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson, 1927).

    Args:
        proportion: share of right answers, in [0, 1].
        items: number of items; may be a fractional effective number.
        z: normal quantile, 1.96 for 95 %.

    Returns:
        (low, high), both in [0, 1].
    """
    if items <= 0:
        return (0.0, 1.0)
    centre = proportion + z * z / (2 * items)
    spread = z * math.sqrt(proportion * (1 - proportion) / items + z * z / (4 * items * items))
    scale = 1 + z * z / items
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def bootstrap_interval(
    values: ArrayLike, weights: ArrayLike, *, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap of a weighted mean (Efron, 1979).

    Args:
        values: item scores, shape (items,).
        weights: non-negative item weights, shape (items,).
        seed: of the resampling.
        draws: number of resamples.

    Returns:
        The 2.5 % and 97.5 % percentiles of the resampled weighted means.
    """
    scores, share = np.asarray(values, float), np.asarray(weights, float)
    scores, share = scores[share > 0], share[share > 0]  # a draw of none but these has no mean
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(scores), size=(draws, len(scores)))
    means = (scores[picks] * share[picks]).sum(axis=1) / share[picks].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return (float(low), float(high))


def mean_interval(
    values: ArrayLike, weights: ArrayLike | None = None, *, binary: bool | None = None
) -> tuple[float, float]:
    """Interval of a (weighted) mean, by what the scores look like.

    Right/wrong items get Wilson's interval with Kish's effective number of items
    n = (Σw)² / Σw²; other scores get the bootstrap.

    Args:
        values: item scores, shape (items,).
        weights: non-negative item weights, shape (items,); equal when absent.
        binary: whether items are right or wrong; read off these scores when absent.

    Returns:
        (low, high); (NaN, NaN) when there is nothing to average.
    """
    scores = np.asarray(values, float)
    share = np.ones_like(scores) if weights is None else np.asarray(weights, float)
    if not share.any() or not np.isfinite(scores).all():
        return (math.nan, math.nan)
    if np.isin(scores, (0.0, 1.0)).all() if binary is None else binary:
        effective = float(share.sum() ** 2 / (share**2).sum())
        return wilson_interval(float((scores * share).sum() / share.sum()), effective)
    return bootstrap_interval(scores, share)
