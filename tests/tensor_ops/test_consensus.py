"""Blending against the formula written out element by element."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.consensus import blend_agreeing, blend_deltas

SMALL = st.integers(-4, 4).map(lambda n: n / 4)  # exact in float32, so that signs are certain
ROWS = st.integers(1, 4).flatmap(
    lambda models: st.lists(st.tuples(*[SMALL] * models), min_size=1, max_size=12).flatmap(
        lambda rows: st.tuples(st.just(rows), st.tuples(*[SMALL] * models))
    )
)
Rows = tuple[list[tuple[float, ...]], tuple[float, ...]]


def agree_on(element: tuple[float, ...], weights: tuple[float, ...], normalize: bool) -> float:
    shares = [weight * delta for weight, delta in zip(weights, element, strict=True)]
    sign = 1.0 if math.fsum(shares) >= 0 else -1.0
    chosen = [k for k, share in enumerate(shares) if share * sign > 0]
    divisor = math.fsum(weights[k] for k in chosen) if normalize else 1.0
    return math.fsum(shares[k] for k in chosen) / (divisor or 1.0)


@settings(deadline=None, max_examples=100)
@given(case=ROWS, normalize=st.booleans())
def test_those_that_agree_on_a_sign_are_summed(case: Rows, normalize: bool) -> None:
    rows, weights = case
    deltas = [torch.tensor(column) for column in zip(*rows, strict=True)]
    blended = blend_agreeing(deltas, weights, normalize=normalize, out=torch.empty(len(rows)))
    expected = torch.tensor([agree_on(row, weights, normalize) for row in rows])
    torch.testing.assert_close(blended, expected, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=100)
@given(case=ROWS, normalize=st.booleans())
def test_deltas_are_summed_with_their_weights(case: Rows, normalize: bool) -> None:
    rows, weights = case
    deltas = [torch.tensor(column) for column in zip(*rows, strict=True)]
    blended = blend_deltas(deltas, weights, normalize=normalize, out=torch.empty(len(rows)))
    total = math.fsum(weights) if normalize else 1.0
    sums = [math.fsum(w * x for w, x in zip(weights, row, strict=True)) for row in rows]
    expected = torch.tensor([s / total if total else 0.0 for s in sums])
    torch.testing.assert_close(blended, expected, rtol=1e-6, atol=0)


def test_a_tie_of_signs_is_positive() -> None:
    deltas = [torch.tensor([2.0, -2.0]), torch.tensor([-2.0, 2.0])]
    assert blend_agreeing(deltas, (1, 1), normalize=False, out=torch.empty(2)).tolist() == [2, 2]


@pytest.mark.parametrize("blend", [blend_agreeing, blend_deltas])
def test_what_was_in_the_buffer_does_not_shine_through(blend: type) -> None:
    dirty = torch.full((1,), torch.nan)
    assert blend([torch.ones(1)], (0.5,), normalize=False, out=dirty).tolist() == [0.5]
