"""Blending against the formula written out element by element."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.blocks import gather
from evomerge.tensor_ops.consensus import (
    Election,
    RandomMask,
    Thinning,
    Votes,
    blend_agreeing,
)
from evomerge.tensor_ops.quantile import MagnitudeCut

SMALL = st.integers(-4, 4).map(lambda n: n / 4)  # exact in float32, so that signs are certain
ROWS = st.integers(1, 4).flatmap(
    lambda models: st.lists(st.tuples(*[SMALL] * models), min_size=1, max_size=12).flatmap(
        lambda rows: st.tuples(st.just(rows), st.tuples(*[SMALL] * models))
    )
)
Rows = tuple[list[tuple[float, ...]], tuple[float, ...]]


def agree_on(
    element: tuple[float, ...], weights: tuple[float, ...], normalize: bool, votes: str
) -> float:
    shares = [weight * delta for weight, delta in zip(weights, element, strict=True)]
    signs = [(share > 0) - (share < 0) for share in shares]
    cast = {"sum": shares, "count": signs, "plain": element}[votes]
    sign = 1.0 if math.fsum(cast) >= 0 else -1.0
    alike = element if votes == "plain" else shares
    chosen = [k for k, share in enumerate(alike) if share * sign > 0]
    divisor = math.fsum(weights[k] for k in chosen) if normalize else 1.0
    return math.fsum(shares[k] for k in chosen) / (divisor or 1.0)


@settings(deadline=None, max_examples=150)
@given(case=ROWS, normalize=st.booleans(), votes=st.sampled_from(["sum", "count", "plain"]))
def test_those_that_agree_on_a_sign_are_summed(case: Rows, normalize: bool, votes: Any) -> None:
    rows, weights = case
    deltas = [torch.tensor(column) for column in zip(*rows, strict=True)]
    out = torch.empty(len(rows))
    blended = blend_agreeing(deltas, weights, normalize=normalize, votes=votes, out=out)
    expected = torch.tensor([agree_on(row, weights, normalize, votes) for row in rows])
    torch.testing.assert_close(blended, expected, rtol=1e-6, atol=0)


def test_the_strongest_and_the_most_elect_different_signs() -> None:
    deltas = [torch.tensor([5.0]), torch.tensor([-1.0]), torch.tensor([-2.0])]
    weights = (1.0, 1.0, 1.0)
    found = [
        blend_agreeing(
            [d.clone() for d in deltas], weights, normalize=False, votes=votes, out=torch.empty(1)
        ).item()
        for votes in ("sum", "count")
    ]
    assert found == [5.0, -3.0]


@pytest.mark.parametrize("votes", ["sum", "count", "plain"])
def test_a_tie_of_signs_is_positive(votes: Any) -> None:
    deltas = [torch.tensor([2.0, -2.0]), torch.tensor([-2.0, 2.0])]
    found = blend_agreeing(deltas, (1, 1), normalize=False, votes=votes, out=torch.empty(2))
    assert found.tolist() == [2, 2]


def test_what_was_in_the_buffer_does_not_shine_through() -> None:
    dirty = torch.full((1,), torch.nan)
    assert blend_agreeing([torch.ones(1)], (0.5,), normalize=False, out=dirty).tolist() == [0.5]


@settings(deadline=None, max_examples=100)
@given(case=ROWS, normalize=st.booleans(), scale=SMALL)
def test_without_consensus_all_are_summed(case: Rows, normalize: bool, scale: float) -> None:
    rows, weights = case
    models = [torch.tensor(column) for column in zip(*rows, strict=True)]
    election = Election(weights, (Thinning(),) * len(models), "none", normalize, scale)
    (block,) = gather(models, torch.ones(len(rows))).walk()
    total = (math.fsum(weights) or 1.0) if normalize else 1.0
    exact = sum(w * (m.double() - 1.0) for w, m in zip(weights, models, strict=True))
    expected = (1.0 + scale * exact / total).float()
    torch.testing.assert_close(election(block), expected, rtol=1e-5, atol=1e-5)


KEY = (0, "model", "tensor")
VALUES = torch.tensor([0.1, -5.0, 2.0, -0.5, 2.0, 0.0])


@pytest.mark.parametrize(
    ("thinning", "expected"),
    [
        (Thinning(), [0.1, -5.0, 2.0, -0.5, 2.0, 0.0]),
        (Thinning(factor=2.0), [0.2, -10.0, 4.0, -1.0, 4.0, 0.0]),
        (Thinning(floor=MagnitudeCut(2.0, 2)), [0, -5.0, 2.0, 0, 0, 0]),
        (Thinning(ceiling=MagnitudeCut(2.0, 2)), [0.1, 0, 0, -0.5, 2.0, 0]),
        (
            Thinning(floor=MagnitudeCut(0.5, 99), ceiling=MagnitudeCut(5.0, 99)),
            [0, 0, 2.0, -0.5, 2.0, 0],
        ),
        (Thinning(mask=RandomMask(KEY, 0.0)), [0] * 6),
        (Thinning(mask=RandomMask(KEY, 1.0)), [0.1, -5.0, 2.0, -0.5, 2.0, 0.0]),
    ],
    ids=["all", "factor", "floor", "ceiling", "band", "none", "sure"],
)
def test_a_task_vector_is_thinned_out(thinning: Thinning, expected: list[float]) -> None:
    assert thinning.apply_(VALUES.clone(), 0).tolist() == pytest.approx(expected)
    assert thinning.changes_nothing == (thinning == Thinning())
    pieces = [thinning.apply_(piece.clone(), 4 * k) for k, piece in enumerate(VALUES.split(4))]
    assert torch.equal(torch.cat(pieces), thinning.apply_(VALUES.clone(), 0))


def test_what_chance_keeps_is_divided_by_its_own_probability() -> None:
    chances = torch.tensor([1.0, 0.5, 0.25, 1.0, 1.0, 0.75])
    mask = RandomMask(KEY, 0.5, lambda _: chances.clone())
    kept = mask.apply_(VALUES.clone(), 0)
    divided = replace(mask, divide=True).apply_(VALUES.clone(), 0)
    assert torch.equal(divided, kept / chances)
    assert torch.equal(kept != 0, divided != 0)


@pytest.mark.parametrize("consensus", ["none", "sum", "count", "plain"])
def test_an_election_that_nobody_won_leaves_the_base(consensus: Votes) -> None:
    nobody = Thinning(mask=RandomMask(KEY, 0.0))
    (block,) = gather([VALUES, -VALUES], torch.ones(6)).walk()
    election = Election((0.5, 0.5), (nobody, nobody), consensus, normalize=True)
    assert torch.equal(election(block), torch.ones(6))
