"""Item response theory: a score read off few answers (Polo et al., 2024; Mencattini et al., 2025).

https://arxiv.org/abs/2402.14992 (p-IRT), https://arxiv.org/abs/2502.10436 (MERGE³: mp-IRT)

Item i is solved by a model of ability θ with probability P_i(θ) = logistic(a_i·θ_g - b_i), where g
is the group (task) of the item: 2PL (Birnbaum, 1968); with a_i = 1 it is 1PL (Rasch, 1960).
The items' a and b are fitted on models that are known already. A merge's ability follows from the
few items it met, on its own or as a mixture of its parents', θ = Σ_m λ_m·θ_m. Scores between right
and wrong count as fractions (Papke and Wooldridge, 1996). All is fitted by penalised maximum
likelihood with Gaussian priors, so that few answers say little, and never too much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
PRIOR = 0.25
"""Precision of all priors: a standard deviation of 2 logits.

Abilities lie around 0, discriminations around 1, difficulties around what makes a model of ability
0 score the mean of the group, mixtures around equal weights.
"""
CERTAIN = 1e12
"""Precision of a prior that no data move."""
SWEEPS, CLOSE = 300, 1e-4
"""Most sweeps over abilities and items, and the step in logits at which they end."""


@dataclass(frozen=True, eq=False)
class ItemResponse:
    """Items as fitted, and the models that they were fitted on.

    Attributes:
        discrimination: a, shape (items,).
        difficulty: b, shape (items,).
        groups: group of every item as 0 … G - 1, shape (items,).
        abilities: of the models fitted on, shape (models, G).
    """

    discrimination: Array
    difficulty: Array
    groups: NDArray[np.int64]
    abilities: Array

    def probabilities(self, ability: ArrayLike) -> Array:
        """Return P_i(θ) for every item, shape (items,), of an ability of shape (G,)."""
        theta = np.asarray(ability, float)
        return _logistic(self.discrimination * theta[self.groups] - self.difficulty)

    def ability(
        self,
        scores: ArrayLike,
        met: ArrayLike,
        *,
        around: ArrayLike | None = None,
        parents: ArrayLike | None = None,
    ) -> Array:
        """Find the ability that explains some scores.

        Args:
            scores: in [0, 1], shape (n,); n may be 0.
            met: positions of their items, shape (n,).
            around: centre of the prior, shape (G,): the ability of a model that is much alike;
                absent: 0.
            parents: abilities, shape (parents, G), whose mixture it shall be (mp-IRT), around equal
                weights; absent: any ability.

        Returns:
            θ, shape (G,).
        """
        places, kinds = np.asarray(met, int), self.abilities.shape[1]
        if parents is None:
            basis, centre = np.eye(kinds), np.zeros(kinds)
            centre = centre if around is None else np.asarray(around, float)
        else:
            basis = np.asarray(parents, float)
            centre = np.full(len(basis), 1 / len(basis))
        design = self.discrimination[places, None] * basis.T[self.groups[places]]
        weights = _fit(
            design[None],
            -self.difficulty[None, places],
            np.asarray(scores, float)[None],
            np.full(len(basis), PRIOR),
            centre[None],
        )
        return np.asarray(weights[0] @ basis)


def fit_item_response(
    responses: ArrayLike, groups: ArrayLike | None = None, *, discriminate: bool = True
) -> ItemResponse:
    """Fit items and abilities on the answers of known models.

    Args:
        responses: scores in [0, 1], shape (models, items); NaN where a model did not meet an item.
        groups: group of every item as 0 … G - 1, shape (items,); one for all when absent.
        discriminate: fit a (2PL) or leave it 1 (1PL).

    Raises:
        ValueError: a score is outside [0, 1].
    """
    y = np.atleast_2d(np.asarray(responses, float))
    if np.nanmin(y, initial=0.0) < 0 or np.nanmax(y, initial=1.0) > 1:
        raise ValueError("item response theory needs scores in [0, 1]")
    kinds = np.zeros(y.shape[1], int) if groups is None else np.asarray(groups, int)
    loading = np.eye(int(kinds.max(initial=0)) + 1)[kinds]  # (items, G)
    centre = np.column_stack([np.ones(len(kinds)), loading @ _typical_ease(y, loading)])
    penalty = np.array([PRIOR if discriminate else CERTAIN, PRIOR])
    theta, ease = np.zeros((len(y), loading.shape[1])), centre  # logit = ease · (θ_g, 1)
    for _ in range(SWEEPS):
        before = theta, ease
        theta = _improve_abilities(y, loading, ease, theta)
        ease = _improve_items(y, loading, ease, theta, centre, penalty)
        theta, ease = _shift_origin(loading, ease, theta, centre)
        if max(_distance(theta, before[0]), _distance(ease, before[1])) < CLOSE:
            break
    return ItemResponse(ease[:, 0], -ease[:, 1], kinds, theta)


def estimate_means(
    model: ItemResponse, scores: ArrayLike, met: ArrayLike, ability: ArrayLike
) -> Array:
    """Estimate the mean score of every group from the items met and the ability they showed.

    Items met count as they were answered, all others as the ability foretells (p-IRT; mp-IRT with
    a mixture's ability).

    Args:
        model: the items.
        scores: in [0, 1], shape (n,).
        met: positions of their items, shape (n,).
        ability: θ, shape (G,).

    Returns:
        One mean per group, shape (G,); exact where all of a group's items were met.
    """
    believed = model.probabilities(ability)
    believed[np.asarray(met, int)] = np.asarray(scores, float)
    sums, sizes = (np.bincount(model.groups, weights) for weights in (believed, None))
    return np.asarray(sums / sizes)


def _typical_ease(y: Array, loading: Array) -> Array:
    """Return the logit of every group's mean answer, half an answer of each kind added."""
    seen = ~np.isnan(y)
    right = np.where(seen, y, 0.0).sum(axis=0) @ loading + 0.5
    return np.asarray(np.log(right / (seen.sum(axis=0) @ loading + 1.0 - right)))


def _improve_abilities(y: Array, loading: Array, ease: Array, theta: Array) -> Array:
    """Make one Newton step in every ability; groups do not meet, so each is a single number."""
    error, certainty = _answer(y, theta @ loading.T * ease[:, 0] + ease[:, 1])
    slope = (error * ease[:, 0]) @ loading - PRIOR * theta
    curvature = (certainty * ease[:, 0] ** 2) @ loading + PRIOR
    step = slope / curvature
    most = (np.abs(ease[:, :1]) * loading).max(axis=0)
    return np.asarray(theta + step / np.maximum(1.0, np.abs(step) * most))


def _improve_items(
    y: Array, loading: Array, ease: Array, theta: Array, centre: Array, penalty: Array
) -> Array:
    spread = loading @ theta.T  # (items, models)
    design = np.stack([spread, np.ones_like(spread)], axis=-1)
    return _step(design, np.zeros_like(y.T), y.T, penalty, centre, ease)


def _shift_origin(loading: Array, ease: Array, theta: Array, centre: Array) -> tuple[Array, Array]:
    """Move every group's abilities and difficulties together to where the priors like them best.

    No probability changes; without it, the alternating steps would get there slowly.
    """
    slope, off = ease[:, 0], ease[:, 1] - centre[:, 1]
    shift = ((slope * off) @ loading - theta.sum(axis=0)) / (len(theta) + slope**2 @ loading)
    return theta + shift, np.column_stack([slope, ease[:, 1] - slope * (loading @ shift)])


def _answer(y: Array, logits: Array) -> tuple[Array, Array]:
    """Return the errors of what was expected and its variances; 0 where y is NaN."""
    seen, expected = ~np.isnan(y), _logistic(logits)
    error = np.where(seen, y - expected, 0.0)
    return error, np.where(seen, expected * (1 - expected), 0.0)


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max(initial=0.0))


def _logistic(logits: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def _fit(design: Array, offset: Array, y: Array, penalty: Array, centre: Array) -> Array:
    """Fit ridge logistic regressions side by side, to the end."""
    weights = centre
    for _ in range(SWEEPS):
        before, weights = weights, _step(design, offset, y, penalty, centre, weights)
        if _distance(weights, before) < CLOSE:
            break
    return weights


def _step(
    design: Array, offset: Array, y: Array, penalty: Array, centre: Array, weights: Array
) -> Array:
    """Make one Newton step in each of several ridge logistic regressions.

    Steps are shortened to change no logit by more than 1: then the likelihood grows, whatever
    the data (Bach, 2010, https://doi.org/10.1214/09-EJS521, proposition 1).

    Args:
        design: shape (B, n, p).
        offset: of the logits, shape (B, n).
        y: answers, shape (B, n); NaN is left out.
        penalty: shape (p,).
        centre: where the penalty is 0, shape (B, p).
        weights: shape (B, p).
    """
    logits = np.einsum("bnp,bp->bn", design, weights) + offset
    error, certainty = _answer(y, logits)
    slope = np.einsum("bn,bnp->bp", error, design) - penalty * (weights - centre)
    curvature = np.matmul((design * certainty[..., None]).swapaxes(1, 2), design) + np.diag(penalty)
    step = np.linalg.solve(curvature, slope[..., None])[..., 0]
    change = np.abs(np.einsum("bnp,bp->bn", design, step)).max(axis=1, initial=1.0)
    return np.asarray(weights + step / change[:, None])
