"""Slerp's factors, and weighted sums in a fixed order."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.blocks import gather
from evomerge.tensor_ops.interpolation import (
    LARGEST_WHOLE,
    Blend,
    as_fractions,
    divide_,
    nonzero_sum,
    slerp_factors,
    weighted_sum,
)

FRACTIONS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [
        (0.5, 90, (math.sqrt(0.5), math.sqrt(0.5))),
        (1 / 3, 90, (math.sin(math.pi / 3), 0.5)),
        (0.5, 120, (1.0, 1.0)),
        (0.0, 60, (1.0, 0.0)),
        (1.0, 60, (0.0, 1.0)),
    ],
)
def test_factors_are_those_of_the_arc(
    t: float, degrees: float, expected: tuple[float, float]
) -> None:
    cosine = math.cos(math.radians(degrees))
    assert slerp_factors(t, 6.0 * cosine, 2.0, 3.0) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(t=FRACTIONS, angle=st.floats(0.04, math.pi - 0.04))
def test_between_unit_vectors_every_point_is_a_unit_vector(t: float, angle: float) -> None:
    a, b = slerp_factors(t, math.cos(angle), 1.0, 1.0)
    assert math.hypot(a + b * math.cos(angle), b * math.sin(angle)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("dot", "norm0", "norm1"),
    [
        (1.0, 1.0, 1.0),
        (-1.0, 1.0, 1.0),
        (0.99951, 1.0, 1.0),
        (1.0000001, 1.0, 1.0),
        (0.0, 0.0, 2.0),
    ],
    ids=["parallel", "antiparallel", "almost parallel", "beyond one", "no direction"],
)
@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_without_an_arc_the_blend_is_linear(
    t: float, dot: float, norm0: float, norm1: float
) -> None:
    assert slerp_factors(t, dot, norm0, norm1) == (1.0 - t, t)


def test_vectors_of_nan_give_factors_of_nan() -> None:
    assert all(math.isnan(f) for f in slerp_factors(0.5, math.nan, math.nan, math.nan))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-9, 9)), min_size=1, max_size=6))
def test_a_weighted_sum_is_what_it_says(pairs: list[tuple[float, float]]) -> None:
    tensors = [torch.full((3,), value) for _, value in pairs]
    found = weighted_sum(tensors, [weight for weight, _ in pairs], torch.full((3,), torch.nan))
    exact = math.fsum(weight * value for weight, value in pairs)
    torch.testing.assert_close(found, torch.full((3,), exact), rtol=1e-5, atol=1e-4)


def test_a_forgotten_weight_is_noticed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        weighted_sum([torch.ones(1), torch.ones(1)], [1.0], torch.empty(1))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((0.5, 0.25), 0.75), ((0.1, 0.2, -0.3), 1.0), ((0.0,), 1.0), ((1e-8,), 1.0), ((2e-8,), 2e-8)],
)
def test_weights_that_cancel_divide_by_one(weights: tuple[float, ...], expected: float) -> None:
    assert nonzero_sum(weights) == expected


def test_a_quotient_is_rounded_once() -> None:
    values = torch.arange(1.0, 2000.0)
    exact = (values.double() / float(torch.tensor(0.3))).float()
    assert torch.equal(divide_(values.clone(), 0.3), exact)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_blend_is_the_sum_it_stands_for(data: st.DataObject) -> None:
    numbers = st.floats(-2, 2, width=32)
    models, base = data.draw(st.lists(numbers, min_size=1, max_size=4)), data.draw(numbers)
    factors = [data.draw(numbers) for _ in models]
    share, scale = data.draw(numbers), data.draw(numbers)
    divisor = data.draw(st.sampled_from([1.0, 0.5, 1.7]))
    tensors = [torch.full((3,), value) for value in models]
    (block,) = gather(tensors, torch.full((3,), base)).walk()
    exact = math.fsum([share * base, *(f * m for f, m in zip(factors, models, strict=True))])
    found = Blend(tuple(factors), base=share, divisor=divisor)(block)
    torch.testing.assert_close(found, torch.full((3,), exact / divisor), rtol=1e-5, atol=2e-5)
    (block,) = gather(tensors, torch.full((3,), base)).walk()
    delta = math.fsum(f * (m - base) for f, m in zip(factors, models, strict=True)) / divisor
    found = Blend(tuple(factors), deltas=True, divisor=divisor, scale=scale)(block)
    torch.testing.assert_close(found, torch.full((3,), base + scale * delta), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "wholes"),
    [
        ((0.5, 0.3, 0.2), (5, 3, 2)),
        ((0.1 + 0.2, 0.1), (3, 1)),
        ((1 / 3, 1 / 3), (1, 1)),
        ((-0.7, 0.4), (-7, 4)),
        ((0.123457, 0.123457, 0.0), (1, 1, 0)),  # no fraction, but a factor in common
        ((2.0,), (1,)),
        ((0.0, 0.0), (0, 0)),
    ],
)
def test_weights_are_whole_numbers_over_one_divisor(
    weights: tuple[float, ...], wholes: tuple[int, ...]
) -> None:
    found, divisor = as_fractions(weights)
    assert max(map(abs, found)) <= 1.0
    assert [f / divisor for f in found] == pytest.approx(weights, rel=1e-14)
    first = next((k for k, whole in enumerate(wholes) if whole), 0)
    assert [f * wholes[first] for f in found] == [w * found[first] for w in wholes]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_weights_keep_their_value_and_have_few_bits_or_are_left_alone(weights: list[float]) -> None:
    found, divisor = as_fractions(weights)
    assert [f / divisor for f in found] == pytest.approx(weights, rel=4e-15)
    if (found, divisor) != (tuple(weights), 1.0):
        scale = 2 * LARGEST_WHOLE
        assert all((f * scale).is_integer() and abs(f) <= 1.0 for f in found)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_factors_that_are_no_numbers_are_left_alone(odd: float) -> None:
    assert str(as_fractions((odd, 1.0))) == str(((odd, 1.0), 1.0))


def test_halves_between_two_numbers_go_to_the_even_one() -> None:
    one, next_ = torch.tensor([1.0]), torch.tensor([1.0 + 2**-7])  # neighbours in bfloat16
    for weights, expected in (((0.3, 0.3), 1.0), ((0.7, 0.7), 1.0)):
        factors, _ = as_fractions(weights)
        (block,) = gather([one, next_]).walk()
        found = Blend(factors, divisor=sum(factors))(block)
        assert found.item() == 1.0 + 2**-8
        assert found.to(torch.bfloat16).item() == expected
