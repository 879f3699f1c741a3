"""A value over depth and tensors: numbers, gradients, filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.recipe.schedule import (
    Rule,
    Schedule,
    Value,
    constant,
    depth_of,
    read_schedule,
)

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


DISCRETE = [
    # values, layers, and what mergekit 0.1.5 gives layer by layer: values[int(t * (n - 1))]
    ([True, False], 2, [True, False]),
    ([True, False], 3, [True, True, False]),
    ([True, False], 1, [False]),
    (["a", "b", "c"], 5, ["a", "a", "b", "b", "c"]),
    (["a", "b", "c"], 4, ["a", "a", "b", "c"]),
    ([True, 0.5], 3, [True, True, 0.5]),
    (["paper", True, False], 3, ["paper", True, False]),
]


@pytest.mark.parametrize(("values", "layers", "expected"), DISCRETE)
def test_a_gradient_of_flags_and_words_keeps_each_until_the_next_is_reached(
    values: list[Value], layers: int, expected: list[Value]
) -> None:
    schedule = read_schedule(values)
    found = [schedule.at("any", depth_of(layer, layers)) for layer in range(layers)]
    assert found == expected
    assert schedule.at("embeddings", 0.0) == values[0]


NUMERIC = [
    # mergekit 0.1.5: linear between values that are evenly spread over t = layer / (layers - 1)
    ([0, 1], 3, [0, 0.5, 1]),
    ([0, 1], 1, [1]),
    ([0, 1], 2, [0, 1]),
    ([0, 0.5, 0.3, 0.7, 1], 5, [0, 0.5, 0.3, 0.7, 1]),
    ([0, 0.5, 0.3, 0.7, 1], 3, [0, 0.3, 1]),
    ([1, 0, 1], 4, [1, 1 / 3, 1 / 3, 1]),
    ([7], 3, [7, 7, 7]),
]


@pytest.mark.parametrize(("values", "layers", "expected"), NUMERIC)
def test_a_gradient_of_numbers_is_spread_over_the_layers_of_a_slice(
    values: list[Value], layers: int, expected: list[float]
) -> None:
    schedule = read_schedule(values)
    found = [schedule.at("any", depth_of(layer, layers)) for layer in range(layers)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_zero_and_one_are_flags_where_flags_are_asked_for() -> None:
    schedule = read_schedule([{"filter": "mlp", "value": [1.0, 0]}, {"value": "paper"}])
    flags = schedule.as_flags()
    assert [rule.values for rule in flags.rules] == [(True, False), ("paper",)]
    assert flags.at("mlp", 0.5) is True
    assert schedule.at("mlp", 0.5) == 0.5


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


def test_numbers_that_old_yaml_takes_for_text_are_numbers() -> None:
    assert read_schedule("5e-1") == read_schedule(0.5)
    assert read_schedule(["1e-1", 0.9]).at("mlp", 0.5) == pytest.approx(0.5)
    assert read_schedule("paper").values() == ["paper"]
    assert read_schedule("nan").values() == ["nan"]
