"""A value over depth and tensors: numbers, gradients, filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.recipe.schedule import Rule, Schedule, constant, read_schedule

NUMBERS = st.floats(-10, 10, allow_nan=False) | st.integers(-10, 10)
DEPTHS = st.floats(0, 1)


@settings(deadline=None, max_examples=200)
@given(values=st.lists(NUMBERS, min_size=1, max_size=6), depth=DEPTHS)
def test_a_gradient_is_piecewise_linear_over_depth(values: list[float], depth: float) -> None:
    expected = np.interp(depth, np.linspace(0, 1, len(values)), values)
    assert read_schedule(values).at("any", depth) == pytest.approx(expected, abs=1e-12)


@given(value=NUMBERS, depth=DEPTHS)
def test_one_value_is_the_same_everywhere(value: float, depth: float) -> None:
    assert read_schedule(value).at("any", depth) == value
    assert read_schedule([value]).at("any", depth) == value
    assert read_schedule(value) == read_schedule([value]) == constant(value)


@given(values=st.lists(NUMBERS, min_size=2, max_size=6))
def test_a_gradient_begins_and_ends_at_what_is_written(values: list[float]) -> None:
    schedule = read_schedule(values)
    assert schedule.at("any", 0.0) == values[0]
    assert schedule.at("any", 1.0) == values[-1]


@pytest.mark.parametrize(
    ("depth", "flag"), [(0.0, True), (0.49, True), (0.5, True), (0.51, False), (1.0, False)]
)
def test_a_gradient_of_flags_takes_the_nearest(depth: float, flag: bool) -> None:
    assert read_schedule([True, False]).at("any", depth) is flag


def test_the_first_rule_that_matches_wins() -> None:
    schedule = read_schedule(
        [
            {"filter": "self_attn.q", "value": 1},
            {"filter": "self_attn", "value": [2, 4]},
            {"filter": "mlp", "value": 5},
            {"value": 6},
            {"filter": "norm", "value": 7},
        ]
    )
    found = {
        name: schedule.at(f"model.layers.0.{name}.weight", 0.5)
        for name in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "norm")
    }
    assert found == {"self_attn.q_proj": 1, "self_attn.k_proj": 3, "mlp.up_proj": 5, "norm": 6}


@pytest.mark.parametrize(
    "everything", [{"value": 1}, {"filter": None, "value": 1}, {"filter": "*", "value": 1}]
)
def test_a_star_a_null_and_no_filter_match_everything(everything: dict[str, object]) -> None:
    assert read_schedule([everything]).at("lm_head.weight", 0.3) == 1
    assert read_schedule(everything).at("", 0.0) == 1


def test_what_no_rule_matches_has_no_value() -> None:
    assert read_schedule([{"filter": "mlp", "value": 1}]).at("lm_head.weight", 0.0) is None


def test_numbers_may_stand_among_filters() -> None:
    schedule = read_schedule([{"filter": "mlp", "value": 1}, 0.5])
    assert schedule.at("lm_head.weight", 0.0) == 0.5


RULES = st.builds(
    Rule,
    st.none() | st.sampled_from(["*", "mlp", "", "self_attn"]),
    st.lists(NUMBERS | st.booleans() | st.just("paper"), min_size=1, max_size=4).map(tuple),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(RULES, min_size=1, max_size=4).map(tuple))
def test_a_schedule_reads_back_from_its_document(rules: tuple[Rule, ...]) -> None:
    assert read_schedule(Schedule(rules).to_document()) == Schedule(rules)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], r"expected a number, a list of numbers, or \{value, filter\}, not \[\]"),
        ([[1]], "expected a number"),
        (None, "expected a number"),
        ({}, "expected {value, filter}, not keys"),
        (
            {"valeu": 1, "filter": "x"},
            r"expected \{value, filter\}, not keys \['filter', 'valeu'\]",
        ),
        ({"value": 1, "filter": 3}, "a filter is part of a tensor's name, not 3"),
        ({"value": {"value": 1}}, "expected a number"),
        (10**400, r"a whole number is beyond 1e\+15"),
        ([0.5, -(10**16)], r"a whole number is beyond 1e\+15"),
    ],
)
def test_what_is_not_a_schedule_is_refused(raw: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_schedule(raw)
