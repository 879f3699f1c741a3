"""Batches: every row in one, within memory, with little padding, whatever the order of asking."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.inference import batches
from evomerge.inference.batches import BATCH_TOKENS, pack

lengths = st.lists(st.integers(1, 3000), max_size=80)


@settings(deadline=None, max_examples=60)
@given(widths=lengths, extra=st.integers(0, 500))
def test_batches_hold_every_row_once_and_stay_within_memory(widths: list[int], extra: int) -> None:
    costs = [width + extra for width in widths]
    found = list(pack(widths, costs))
    assert sorted(row for batch in found for row in batch) == list(range(len(widths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(costs[row] for row in batch) <= BATCH_TOKENS
        widest = max(widths[row] for row in batch)
        assert sum(widest - widths[row] for row in batch) <= batches.PADDING


def test_more_padding_means_fewer_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(1)
    widths = [source.randrange(10, 60) for _ in range(100)]
    counts = [len(list(pack(widths, padding=padding))) for padding in (0, 30, 10_000)]
    assert counts[0] > counts[1] > counts[2] == 1
    monkeypatch.setattr(batches, "BATCH_TOKENS", 60)
    assert len(list(pack(widths, padding=10_000))) > counts[2]


@settings(deadline=None, max_examples=20)
@given(widths=lengths, seed=st.integers(0, 99))
def test_the_order_of_asking_does_not_change_how_wide_batches_are(
    widths: list[int], seed: int
) -> None:
    mixed = random.Random(seed).sample(widths, len(widths))
    shapes = [[[w[row] for row in batch] for batch in pack(w)] for w in (widths, mixed)]
    assert shapes[0] == shapes[1]


@settings(deadline=None, max_examples=20)
@given(widths=lengths, even=st.integers(0, 60))
def test_beyond_a_width_only_equal_rows_share_a_batch(widths: list[int], even: int) -> None:
    for batch in pack(widths, padding=10_000, even=even):
        found = {widths[row] for row in batch}
        assert len(found) == 1 or max(found) <= even
