"""What the best of many promises, against what it is."""

import numpy as np
import pytest

from evomerge.statistics import Optimism, measure_optimism, wilson_interval


def test_what_was_promised_too_much_is_the_rest() -> None:
    found = measure_optimism(0.95, 0.9, 0.85, 0.93)
    assert (found.mean, found.low, found.high) == pytest.approx((0.05, 0.02, 0.10))
    assert found.certain
    assert not measure_optimism(0.92, 0.9, 0.85, 0.93).certain
    assert not Optimism(-0.1, -0.2, -0.05).certain


def test_optimism_of_the_best_of_many_is_covered_as_often_as_stated() -> None:
    """The best of 100 candidates by 100 search items, then 200 fresh ones; 10,000 runs."""
    rng = np.random.default_rng(0)
    runs, candidates, search, fresh = 10_000, 100, 100, 200
    truth = np.clip(rng.normal(0.6, 0.04, (runs, candidates)), 0, 1)
    claims = rng.binomial(search, truth) / search
    best = claims.argmax(axis=1)
    claimed = claims[np.arange(runs), best]
    real = truth[np.arange(runs), best]
    assert (claimed - real).mean() > 0.05  # the winner's curse
    right = rng.binomial(fresh, real)
    limits = np.array([wilson_interval(k / fresh, fresh) for k in range(fresh + 1)])[right]
    found = [
        measure_optimism(claim, k / fresh, low, high)
        for claim, k, (low, high) in zip(claimed, right, limits, strict=True)
    ]
    held = [o.low <= c - r <= o.high for o, c, r in zip(found, claimed, real, strict=True)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)
    assert np.mean([o.mean for o in found]) == pytest.approx((claimed - real).mean(), abs=0.003)
