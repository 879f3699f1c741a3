"""The corrected mean is unbiased, exactly; it pays where controls foretell, else costs little."""

from itertools import combinations
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evomerge.statistics import control_variate_mean, plain_mean

Array = NDArray[np.float64]
SCORES = st.floats(0, 1).map(lambda x: round(x, 3))
SEVEN = arrays(np.float64, 7, elements=SCORES)
TWO_CONTROLS = arrays(np.float64, (7, 2), elements=SCORES)


@settings(deadline=None, max_examples=40)
@given(SEVEN, TWO_CONTROLS, st.integers(1, 6), st.sampled_from([0.01, 1.0, 10.0]))
def test_mean_over_all_choices_of_items_is_the_mean_over_all_items(
    y: Array, controls: Array, count: int, ridge: float
) -> None:
    estimates = [
        control_variate_mean(y[list(met)], met, controls, ridge=ridge).mean
        for met in combinations(range(7), count)
    ]
    assert np.mean(estimates) == pytest.approx(y.mean(), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(SEVEN, TWO_CONTROLS)
def test_is_the_plain_mean_when_all_was_met(y: Array, controls: Array) -> None:
    assert control_variate_mean(y, np.arange(7), controls) == (y.mean(), 0.0)


@settings(deadline=None, max_examples=40)
@given(SEVEN, SCORES)
def test_is_the_plain_mean_where_controls_say_nothing(y: Array, level: float) -> None:
    met = [0, 2, 5]
    assert control_variate_mean(y[met], met, np.full(7, level)) == plain_mean(y[met], 7)
    assert control_variate_mean(y[:1], [0], y) == plain_mean(y[:1], 7)


@settings(deadline=None, max_examples=40)
@given(SEVEN, TWO_CONTROLS, st.floats(-3, 3), st.floats(0.1, 3), st.permutations(range(5)))
def test_moves_with_the_scores_and_not_with_units_of_controls_or_order(
    y: Array, controls: Array, shift: float, scale: float, order: list[int]
) -> None:
    met = np.array([1, 2, 3, 5, 6])
    mean, variance = control_variate_mean(y[met], met, controls)
    moved = control_variate_mean(scale * y[met] + shift, met, controls)
    assert moved == pytest.approx((scale * mean + shift, scale**2 * variance), abs=1e-9)
    told = controls * 4.0 + 1.0  # a power of two: flat columns stay flat
    assert control_variate_mean(y[met], met, told) == pytest.approx((mean, variance), abs=1e-9)
    again = control_variate_mean(y[met][order], met[order], controls)
    assert again == pytest.approx((mean, variance), abs=1e-9)


def refit(x: Array, y: Array, ridge: float) -> Array:
    """Solve the ridge regression with an intercept, slope penalised."""
    design = np.column_stack([np.ones(len(y)), x])
    penalty = np.diag([0.0] + [ridge] * x.shape[1])
    return np.asarray(np.linalg.solve(design.T @ design + penalty, design.T @ y)[1:])


def test_agrees_with_the_formula_written_out() -> None:
    rng = np.random.default_rng(5)
    controls, met = rng.random((30, 3)), rng.permutation(30)[:12]
    y = rng.random(12)
    z = (controls - controls.mean(axis=0)) / controls.std(axis=0)
    rest = np.delete(z, met, axis=0).mean(axis=0)
    corrected = []
    for k in range(12):
        others = np.arange(12) != k
        slope = refit(z[met][others], y[others], 2.0)
        corrected.append(y[k] + (1 - 12 / 30) * slope @ (rest - z[met[k]]))
    found = control_variate_mean(y, met, controls, ridge=2.0).mean
    assert found == pytest.approx(np.mean(corrected), abs=1e-12)


def test_a_control_that_foretells_leaves_no_error() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(200)
    met = rng.permutation(200)[:20]
    estimate = control_variate_mean(truth[met], met, 2 - 3 * truth, ridge=1e-9)
    assert estimate.mean == pytest.approx(truth.mean(), abs=1e-8)
    assert estimate.variance < 1e-12
    assert abs(truth[met].mean() - truth.mean()) > 0.01  # what was to be corrected


def test_variance_is_what_the_simulation_shows() -> None:
    rng = np.random.default_rng(2)
    ease = rng.random(300)
    y = (rng.random(300) < ease).astype(float)
    found = []
    for _ in range(1500):
        met = rng.permutation(300)[:40]
        found.append((*control_variate_mean(y[met], met, ease), y[met].mean()))
    means, variances, plain = np.array(found).T
    assert means.mean() == pytest.approx(y.mean(), abs=4 * means.std() / len(means) ** 0.5)
    assert variances.mean() == pytest.approx(means.var(), rel=0.12)
    assert means.var() < 0.85 * plain.var()


def test_noise_as_controls_costs_little() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(300) < 0.5).astype(float)
    noise, errors = rng.random((300, 2)), []
    for _ in range(800):
        met = rng.permutation(300)[:40]
        errors.append((control_variate_mean(y[met], met, noise).mean, y[met].mean()))
    corrected, plain = np.var(errors, axis=0)
    assert corrected < 1.15 * plain


def test_one_score_of_many_says_nothing_about_its_error() -> None:
    assert plain_mean([1.0], 9) == (1.0, inf)
    assert plain_mean([1.0], 1) == (1.0, 0.0)


@pytest.mark.parametrize(("scores", "met"), [([1.0, 0.0], [3]), ([], [])])
def test_scores_belong_to_items(scores: list[float], met: list[int]) -> None:
    with pytest.raises(ValueError, match="scores do not belong to"):
        control_variate_mean(scores, met, [0.1, 0.2, 0.3, 0.4])
