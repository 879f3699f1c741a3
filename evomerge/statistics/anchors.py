"""Anchors: the few items that tell models apart, weighted so that the mean stays honest.

Stratified sampling with the best allocation (Neyman, 1934, https://doi.org/10.2307/2342192; whole
items: Wright, 2012, https://doi.org/10.1080/00031305.2012.733679). Items are put into strata by the
mean score μ that known models earned on them; a stratum gets anchors by its size and by the
disagreement in it, √(μ(1 - μ)), and at least one; within a stratum they are drawn at random. An
item stands for all of its stratum, so the weighted mean is unbiased for every model, however
unlike the known ones it is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

AGREED = 0.1
"""Disagreement counted where all known models agree: a merge may still differ from them."""


class Anchors(NamedTuple):
    """Chosen items and what share of all items each stands for.

    Attributes:
        positions: ascending, shape (count,).
        weights: shape (count,), of sum 1.
    """

    positions: NDArray[np.int64]
    weights: NDArray[np.float64]


def choose_anchors(responses: ArrayLike, count: int, *, seed: int = 0) -> Anchors:
    """Choose items by the disagreement of known models.

    Args:
        responses: scores in [0, 1], shape (models, items).
        count: how many to choose; all items where there are fewer.
        seed: of the draws within strata.

    Raises:
        ValueError: `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"{count} anchors stand for nothing; choose at least 1")
    easiness = np.atleast_2d(np.asarray(responses, float)).mean(axis=0)
    strata = _stratify(easiness, max(1, count // 2))
    rng = np.random.default_rng(seed)
    positions, weights = [], []
    for members, share in zip(strata, _allocate(easiness, strata, count), strict=True):
        positions.append(rng.choice(members, share, replace=False))
        weights.append(np.full(share, len(members) / (share * len(easiness))))
    order = np.argsort(np.concatenate(positions))
    return Anchors(np.concatenate(positions)[order], np.concatenate(weights)[order])


def _stratify(easiness: NDArray[np.float64], most: int) -> list[NDArray[np.int64]]:
    """Divide items into at most `most` strata; equally easy items stay together where they can."""
    levels, place = np.unique(np.round(easiness, 9), return_inverse=True)
    if len(levels) > most:
        place = np.argsort(np.argsort(easiness, kind="stable")) * most // len(easiness)
    return [np.flatnonzero(place == level) for level in range(place.max() + 1)]


def _allocate(
    easiness: NDArray[np.float64], strata: list[NDArray[np.int64]], count: int
) -> list[int]:
    """Give every stratum one anchor, and each further one where it lowers the variance most."""
    mean = np.array([easiness[members].mean() for members in strata])
    size = np.array([len(members) for members in strata], float)
    spread = size * np.sqrt(np.clip(mean * (1 - mean), AGREED**2, None))
    given = np.ones(len(strata))
    for _ in range(min(count, len(easiness)) - len(strata)):
        gain = np.where(given < size, spread**2 / (given * (given + 1)), -1.0)
        given[np.argmax(gain)] += 1
    return [int(share) for share in given]
