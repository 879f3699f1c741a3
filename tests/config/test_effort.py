"""Effort sets what a run file leaves open, and nothing that it says."""

from typing import Any

import pytest

from evomerge.config import RacingSettings, RunConfig, apply_effort, parse_config

FILE: dict[str, Any] = {
    "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
    "tasks": [{"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}],
}


def spent(config: RunConfig) -> tuple[Any, ...]:
    return config.search.evaluations, config.items.search, config.racing, config.finalists


@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        ("quick", (100, 100, None, 3)),
        ("normal", (200, None, None, 5)),
        ("thorough", (1000, None, False, 10)),
    ],
)
def test_each_effort_is_one_row_of_the_table(effort: str, expected: tuple[Any, ...]) -> None:
    assert spent(apply_effort(parse_config({**FILE, "effort": effort}))) == expected


def test_no_word_about_effort_leaves_the_files_own_defaults() -> None:
    assert apply_effort(parse_config(FILE)) == parse_config(FILE)


def test_what_the_file_says_wins_even_where_it_says_the_default() -> None:
    said = {
        "search": {"evaluations": 200, "population": 8},
        "items": {"search": 7, "test": 9},
        "racing": {"first": 20},
        "finalists": 5,
    }
    for effort in ("quick", "thorough"):
        config = apply_effort(parse_config({**FILE, **said, "effort": effort}))
        assert spent(config) == (200, 7, RacingSettings(first=20), 5)
        assert config.search.options == {"population": 8}
        assert config.items.test == 9


def test_a_limit_of_items_in_the_words_of_another_tool_counts_as_said() -> None:
    config = apply_effort(parse_config({**FILE, "effort": "quick", "limit": 60}))
    assert config.items.search in (None, 60)


def test_settling_the_effort_twice_changes_nothing() -> None:
    once = apply_effort(parse_config({**FILE, "effort": "quick"}))
    assert apply_effort(once) == once
    stored = RunConfig.model_validate(once.model_dump(mode="json"))
    assert apply_effort(stored) == once


def test_validation_and_test_items_are_never_saved_on() -> None:
    for effort in ("quick", "normal", "thorough"):
        items = apply_effort(parse_config({**FILE, "effort": effort})).items
        assert (items.validation, items.test) == (None, None)
