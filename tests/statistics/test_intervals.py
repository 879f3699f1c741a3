"""Intervals against published values, by their coverage, and where there is nothing to say."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evomerge.statistics import (
    bootstrap_interval,
    combine_intervals,
    mean_interval,
    wilson_interval,
)

SAMPLES = 10_000
Array = NDArray[np.float64]
Part = tuple[Array, Array, Array]


def covered(low: Array, high: Array, truth: float | Array) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def proportions(rng: np.random.Generator, truth: float | Array, items: int) -> Part:
    """Draw samples of right/wrong items: their means and Wilson's limits."""
    right = rng.binomial(items, truth, size=SAMPLES)
    limits = np.array([wilson_interval(k / items, items) for k in range(items + 1)])
    return right / items, limits[right, 0], limits[right, 1]


@pytest.mark.parametrize(
    ("right", "items", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_limits(right: int, items: int, low: float, high: float) -> None:
    assert wilson_interval(right / items, items) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None, max_examples=100)
@given(items=st.integers(1, 3000), share=st.floats(0, 1))
def test_wilson_holds_the_proportion_and_stays_in_range(items: int, share: float) -> None:
    proportion = round(share * items) / items
    low, high = wilson_interval(proportion, items)
    assert 0.0 <= low <= proportion + 1e-12
    assert proportion - 1e-12 <= high <= 1.0
    mirrored = wilson_interval(1.0 - proportion, items)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-12)


def test_without_items_everything_is_possible() -> None:
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


@pytest.mark.parametrize("items", [20, 50, 100, 400])
def test_wilson_covers_the_truth_as_often_as_it_says(items: int) -> None:
    rng = np.random.default_rng(items)
    truth = rng.uniform(0.05, 0.95, SAMPLES)  # averaged: one truth's coverage is jagged
    _, low, high = proportions(rng, truth, items)
    assert covered(low, high, truth) == pytest.approx(0.95, abs=0.02)


SCORES = {
    "normal": (lambda rng, shape: rng.normal(1.0, 0.3, shape), 1.0),
    "skewed shares": (lambda rng, shape: rng.beta(2, 5, shape), 2 / 7),
    "skewed bits": (lambda rng, shape: rng.lognormal(0, 0.5, shape), math.exp(0.125)),
    "thirds": (lambda rng, shape: rng.integers(0, 4, shape) / 3, 0.5),
}


@pytest.mark.parametrize("scores", SCORES)
def test_the_bootstrap_covers_the_truth_as_often_as_it_says(scores: str) -> None:
    draw, truth = SCORES[scores]
    limits = bootstrap_interval(draw(np.random.default_rng(7), (SAMPLES, 30)), draws=800)
    assert covered(limits[:, 0], limits[:, 1], truth) == pytest.approx(0.95, abs=0.02)


WEIGHTED = {
    "equal": ([0.6, 0.7], [100, 100], [0.5, 0.5]),
    "a heavy task of few items": ([0.3, 0.8], [400, 30], [0.25, 0.75]),
    "near the edges": ([0.95, 0.1, 0.5], [60, 250, 40], [0.5, 0.3, 0.2]),
    "less of one is better": ([0.4, 0.8], [80, 80], [0.6, -0.4]),
}


@pytest.mark.parametrize("case", WEIGHTED)
def test_a_weighted_mean_is_covered_as_often_as_its_parts(case: str) -> None:
    truths, items, weights = WEIGHTED[case]
    rng = np.random.default_rng(3)
    parts = [proportions(rng, p, n) for p, n in zip(truths, items, strict=True)]
    low, high = combine_intervals(parts, weights)
    truth = float(np.dot(truths, weights))
    assert covered(low, high, truth) == pytest.approx(0.95, abs=0.02)


def test_right_or_wrong_and_bits_together_are_covered() -> None:
    rng = np.random.default_rng(11)
    bits = rng.lognormal(0, 0.5, (SAMPLES, 40))
    limits = bootstrap_interval(bits, draws=500)
    parts = [
        proportions(rng, 0.7, 60),
        (bits.mean(axis=1), limits[:, 0], limits[:, 1]),
    ]
    low, high = combine_intervals(parts, [0.7, -0.3])
    truth = 0.7 * 0.7 - 0.3 * math.exp(0.125)
    assert covered(low, high, truth) == pytest.approx(0.95, abs=0.02)


def test_pooling_items_of_uneven_weight_would_not_be_covered() -> None:
    """What combining replaces: Wilson of the weighted share with Kish's number of items."""
    rng = np.random.default_rng(5)
    truths, items, weights = [0.02, 0.98], [200, 200], [0.5, 0.5]
    parts = [proportions(rng, p, n) for p, n in zip(truths, items, strict=True)]
    share = sum(w * part[0] for w, part in zip(weights, parts, strict=True))
    pooled = np.array([wilson_interval(float(s), 400) for s in share[:2000]])
    assert covered(pooled[:, 0], pooled[:, 1], 0.5) > 0.999  # twice as wide as it needs to be
    low, high = combine_intervals(parts, weights)
    assert covered(low, high, 0.5) == pytest.approx(0.95, abs=0.02)
    assert (high - low).mean() < 0.5 * (pooled[:, 1] - pooled[:, 0]).mean()


def test_newcombes_difference_of_two_proportions() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 873-890, Table II, method 10: 56/70 - 48/80
    parts = [(56 / 70, *wilson_interval(56 / 70, 70)), (48 / 80, *wilson_interval(48 / 80, 80))]
    low, high = combine_intervals(parts, [1.0, -1.0])
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@settings(deadline=None, max_examples=60)
@given(st.floats(-2, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 3))
def test_a_single_part_keeps_its_interval(
    mean: float, down: float, up: float, weight: float
) -> None:
    low, high = combine_intervals([(mean, mean - down, mean + up)], [weight])
    assert (low, high) == pytest.approx((weight * (mean - down), weight * (mean + up)), abs=1e-9)
    low, high = combine_intervals([(mean, mean - down, mean + up)], [-weight])
    assert (low, high) == pytest.approx((-weight * (mean + up), -weight * (mean - down)), abs=1e-9)


def test_the_bootstrap_repeats_itself_and_asks_each_sample_alone() -> None:
    values = np.random.default_rng(0).random((3, 4, 25))
    limits = bootstrap_interval(values)
    assert limits.shape == (3, 4, 2)
    assert (limits == bootstrap_interval(values)).all()
    assert limits[1, 2] == pytest.approx(bootstrap_interval(values[1, 2]), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(0.01, 50), st.floats(-100, 100)
)
@example([0.0, 1e-185], 1.0, 0.0)  # whose square is 0
def test_the_bootstrap_moves_with_the_scores(
    values: Sequence[float], scale: float, shift: float
) -> None:
    here = bootstrap_interval(values, draws=200)
    there = bootstrap_interval(np.array(values) * scale + shift, draws=200)
    assert there == pytest.approx(here * scale + shift, rel=1e-5, abs=1e-5)


def test_many_items_take_little_memory_at_once() -> None:
    values = np.random.default_rng(0).random(20_000)
    low, high = bootstrap_interval(values, draws=300)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(20_000), rel=0.3)


def test_the_bootstrap_of_one_value_is_that_value() -> None:
    assert bootstrap_interval([0.25] * 7).tolist() == [0.25, 0.25]


def test_right_and_wrong_items_get_wilson() -> None:
    assert mean_interval([1, 0, 0, 1, 1]) == wilson_interval(0.6, 5)


def test_other_scores_get_the_bootstrap() -> None:
    values = np.array([0.2, 0.9, 0.4])
    assert mean_interval(values) == tuple(bootstrap_interval(values).tolist())


def test_equal_shares_are_not_certain_to_go_on() -> None:
    assert mean_interval([0.5] * 20) == wilson_interval(0.5, 20)
    assert mean_interval([1.0] * 20, binary=False) == wilson_interval(1.0, 20)
    assert mean_interval([3.5] * 20) == (3.5, 3.5)  # of any range, nothing is known


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.inf]])
def test_of_what_is_not_a_number_no_interval_is_known(values: list[float]) -> None:
    assert all(math.isnan(limit) for limit in mean_interval(values))
