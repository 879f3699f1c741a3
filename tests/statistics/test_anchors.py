"""Anchors are few, where models disagree, and stand for all items without bias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evomerge.statistics import choose_anchors

Array = NDArray[np.float64]
RESPONSES = st.integers(1, 25).flatmap(
    lambda items: arrays(np.float64, (3, items), elements=st.sampled_from([0.0, 0.3, 1.0]))
)


@settings(deadline=None, max_examples=60)
@given(RESPONSES, st.integers(1, 30), st.integers(0, 5))
def test_are_as_many_as_asked_and_weigh_one(responses: Array, count: int, seed: int) -> None:
    positions, weights = choose_anchors(responses, count, seed=seed)
    items = responses.shape[1]
    assert len(positions) == len(weights) == min(count, items)
    assert list(positions) == sorted(set(positions))
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    if count >= items:
        assert weights == pytest.approx(np.full(items, 1 / items))


@settings(deadline=None, max_examples=40)
@given(RESPONSES, st.integers(1, 30))
def test_follow_from_the_seed_alone(responses: Array, count: int) -> None:
    first, second = (choose_anchors(responses, count, seed=7) for _ in range(2))
    assert (first.positions == second.positions).all()
    assert (first.weights == second.weights).all()


@settings(deadline=None, max_examples=4)
@given(arrays(np.float64, (3, 12), elements=st.sampled_from([0.0, 1.0])), st.integers(2, 9))
def test_every_item_counts_the_same_in_the_long_run(responses: Array, count: int) -> None:
    draws = 800
    stand_for = np.zeros((draws, 12))
    for seed in range(draws):
        positions, weights = choose_anchors(responses, count, seed=seed)
        stand_for[seed, positions] = weights
    error = 5 * stand_for.std(axis=0) / draws**0.5 + 1e-12
    assert (np.abs(stand_for.mean(axis=0) - 1 / 12) < error).all()


def test_lie_where_models_disagree() -> None:
    agreed, disputed = np.ones((4, 80)), np.tile([[1.0], [0.0], [1.0], [0.0]], 20)
    positions, weights = choose_anchors(np.hstack([agreed, disputed]), 20)
    assert (positions >= 80).sum() >= 9  # a fifth of all items, and half of the anchors
    assert weights[positions < 80].sum() == pytest.approx(0.8)


def test_beat_random_items_where_a_merge_is_like_its_parents() -> None:
    rng = np.random.default_rng(4)
    ease = rng.choice([0.02, 0.5, 0.98], 400, p=[0.4, 0.2, 0.4])
    parents, merge = (rng.random((n, 400)) < ease for n in (6, 1))
    errors = []
    for seed in range(400):
        positions, weights = choose_anchors(parents, 40, seed=seed)
        chosen = rng.permutation(400)[:40]
        errors.append((merge[0, positions] @ weights, merge[0, chosen].mean()))
    anchored, plain = np.var(errors, axis=0)
    assert anchored < 0.6 * plain


def test_none_stand_for_nothing() -> None:
    with pytest.raises(ValueError, match="0 anchors stand for nothing"):
        choose_anchors([[1.0, 0.0]], 0)
