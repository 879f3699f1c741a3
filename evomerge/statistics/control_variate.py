"""Control variates: the regression estimator of a mean, without bias (Mickey, 1959).

https://doi.org/10.1080/01621459.1959.10501533

A model met a random n of N items. Other models' scores x are known on all of them, so it is known
how much easier or harder than the rest the n happened to be, and the plain mean is corrected by
that: est = mean_S(y) - β·(mean_S(x) - mean_all(x)). Where β comes from the same n scores, the
estimate is biased; Mickey's takes for every item the β of all others,

    est = mean_S(y) + (1 - n/N) · mean_{k ∈ S} β_{-k}·(mean_rest(x) - x_k),

which is unbiased over random S for any rule by which β_{-k} follows from the others: given these,
item k is a random draw from the items that they leave.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RIDGE = 4.0
"""Weight of 'no relation', in items: how many it takes to believe half of a slope."""
FLAT = 1e-9
"""A control whose standard deviation is below says nothing."""


class MeanEstimate(NamedTuple):
    """An estimated mean score and the variance of its error over random choices of items."""

    mean: float
    variance: float


def plain_mean(scores: ArrayLike, items: int) -> MeanEstimate:
    """Estimate the mean over all items by the mean over a random part of them.

    Args:
        scores: of the items met, shape (n,), n ≥ 1.
        items: N, how many there are, at least n.

    Returns:
        The mean and (1 - n/N)·s²/n; the variance is infinite for a single score of several items.
    """
    values = np.asarray(scores, float)
    return _with_variance(float(values.mean()), values, items)


def control_variate_mean(
    scores: ArrayLike, met: ArrayLike, controls: ArrayLike, *, ridge: float = RIDGE
) -> MeanEstimate:
    """Estimate the mean over all items from a random part of them and from controls.

    Slopes are those of ridge regression with an intercept, on controls brought to standard
    deviation 1 over all items.

    Args:
        scores: of the items met, shape (n,), n ≥ 1.
        met: their positions among all items, shape (n,), all different.
        controls: what is known about every item, shape (N,) or (N, controls): other models' scores.
        ridge: weight of the slopes' pull towards 0, positive, in items.

    Returns:
        The mean and (1 - n/N)·s²/n of the residuals; the plain mean where all items were met,
        where the controls are constant, or where there is but one score.

    Raises:
        ValueError: the numbers of scores and positions differ, or there are none.
    """
    y, places = np.asarray(scores, float), np.asarray(met, int)
    if y.shape != places.shape or y.ndim != 1 or not len(y):
        raise ValueError(f"{y.shape} scores do not belong to {places.shape} items")
    known = _standardise(np.asarray(controls, float))
    count, items = len(y), len(known)
    if count in (1, items) or not known.shape[1]:
        return plain_mean(y, items)
    x = known[places]
    slopes = _slopes_of_the_others(x, y, ridge)
    rest = (known.sum(axis=0) - x.sum(axis=0)) / (items - count)
    correction = (1 - count / items) * np.mean(np.sum(slopes * (rest - x), axis=1))
    return _with_variance(float(y.mean() + correction), y - np.sum(slopes * x, axis=1), items)


def _standardise(controls: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = controls[:, None] if controls.ndim == 1 else controls
    spread = columns.std(axis=0)
    telling = spread > FLAT
    return np.asarray((columns[:, telling] - columns[:, telling].mean(axis=0)) / spread[telling])


def _slopes_of_the_others(
    x: NDArray[np.float64], y: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    """Return β_{-k} for every k, shape (n, controls), by the update for one row left out."""
    design = np.column_stack([np.ones(len(y)), x])
    penalty = np.diag([0.0] + [ridge] * x.shape[1])
    inverse = np.linalg.inv(design.T @ design + penalty)
    all_in = inverse @ design.T @ y
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    surprise = (y - design @ all_in) / (1 - leverage)
    return np.asarray((all_in - (design @ inverse) * surprise[:, None])[:, 1:])


def _with_variance(mean: float, residuals: NDArray[np.float64], items: int) -> MeanEstimate:
    count = len(residuals)
    if count == items:
        return MeanEstimate(mean, 0.0)
    spread = float(np.var(residuals, ddof=1)) if count > 1 else math.inf
    return MeanEstimate(mean, (1 - count / items) * spread / count)
