"""Intervals against published values, by their coverage, and where there is nothing to say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.statistics import bootstrap_interval, mean_interval, wilson_interval


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


def test_wilson_covers_a_true_proportion_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for truth in rng.uniform(0.05, 0.95, size=2000):  # averaged: one truth's coverage is jagged
        low, high = wilson_interval(rng.binomial(100, truth) / 100, 100)
        hits += low <= truth <= high
    assert 0.94 <= hits / 2000 <= 0.965


def test_the_bootstrap_covers_a_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.beta(2, 5, 80), np.ones(80), seed=trial, draws=400)
        hits += low <= 2 / 7 <= high
    assert 0.90 <= hits / 200 <= 0.985


def test_the_bootstrap_repeats_itself_and_counts_weights() -> None:
    values, weights = np.arange(10) / 10, np.array([1.0] * 5 + [0.0] * 5)
    low, high = bootstrap_interval(values, weights, draws=9000)  # 1 of 1024 draws weighs nothing
    assert (low, high) == bootstrap_interval(values, weights, draws=9000)
    assert 0.0 <= low < 0.2 < high <= 0.4  # the mean of 0 … 0.4 is 0.2; the rest weighs nothing


def test_the_bootstrap_of_one_value_is_that_value() -> None:
    assert bootstrap_interval([0.25] * 7, [1.0] * 7) == (0.25, 0.25)


def test_right_and_wrong_items_get_wilson() -> None:
    assert mean_interval([1, 0, 0, 1, 1]) == wilson_interval(0.6, 5)


def test_uneven_weights_count_as_fewer_items() -> None:
    low, high = mean_interval([1, 0, 1, 0], [4, 1, 1, 1])
    assert (low, high) == wilson_interval(5 / 7, 49 / 19)  # Kish: (Σw)² / Σw²


def test_other_scores_get_the_bootstrap() -> None:
    values = np.array([0.2, 0.9, 0.4])
    assert mean_interval(values) == bootstrap_interval(values, np.ones(3))


def test_items_without_any_weight_have_no_mean() -> None:
    assert all(math.isnan(limit) for limit in mean_interval([0.5, 1.0], [0.0, 0.0]))


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.inf]])
def test_of_what_is_not_a_number_no_interval_is_known(values: list[float]) -> None:
    assert all(math.isnan(limit) for limit in mean_interval(values))
