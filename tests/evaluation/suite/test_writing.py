"""The rules of writing, each kept and broken."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.evaluation.suite.writing import RULES, Writing, grade
from evomerge.records import Item

GOOD = "The waves rolled in from the west. A gull cried, and then it was quiet again."
KEPT_AND_BROKEN: list[tuple[str, Any, str, str]] = [
    ("words", [12, 20], GOOD, "The waves rolled in."),
    ("words", [3, 5], "The waves rolled in.", GOOD),
    ("sentences", [2, 2], GOOD, "The waves rolled in."),
    ("sentences", [1, 1], "It cost 3.50 euros today!", GOOD),
    ("mentions", ["waves", "gull"], GOOD, "The waves rolled in."),
    ("mentions", ["the west"], GOOD, "The far west is theirs."),
    ("mentions", ["Waves"], GOOD, "The waveslike sand lay still."),
    ("avoids", ["snow"], GOOD, "There was Snow everywhere."),
    ("begins", "The waves", GOOD, "All the waves rolled in."),
    ("closes", True, GOOD, "The waves rolled in from"),
    ("closes", True, 'She said: "It is late."', "It is late. And"),
    ("bullets", 2, "- one apple\n- two pears", GOOD),
    ("bullets", 2, "* one apple\n  • two pears", "- one\n- two\n- three pears"),
    ("varied", 0.7, GOOD, "the sea is the sea is the sea is the sea is the sea"),
    ("plain", 0.9, GOOD, "one two three ### $$$ %%% @@@ <<<"),
]


@pytest.mark.parametrize(("rule", "value", "kept", "broken"), KEPT_AND_BROKEN)
def test_a_rule_is_kept_or_broken(rule: str, value: Any, kept: str, broken: str) -> None:
    assert grade(kept, {rule: value}) == 1.0
    assert grade(broken, {rule: value}) == 0.0


def test_every_rule_is_tested() -> None:
    assert {rule for rule, *_ in KEPT_AND_BROKEN} == set(RULES)


def test_the_mark_is_the_share_of_rules_kept() -> None:
    assert grade(GOOD, {"closes": True, "begins": "A gull"}) == 0.5
    assert grade(f"\n {GOOD} \n\nWhat comes later does not", {"closes": True}) == 1.0


@pytest.mark.parametrize("answer", ["", "\n\n", "Yes.", "!!! ??? ...", "one two"])
def test_an_empty_page_keeps_no_rule(answer: str) -> None:
    assert grade(answer, {"avoids": ["snow"], "plain": 0.0}) == 0.0


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_any_answer_has_a_mark(answer: str) -> None:
    rules = {rule: value for rule, value, *_ in KEPT_AND_BROKEN}
    assert 0.0 <= grade(answer, rules) <= 1.0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "task writing: item 1 has no rules"),
        ([], "item 1 has no rules"),
        ({"word": [1, 2]}, r"unknown rule 'word' \(did you mean 'words'\?\). Rules are words, se"),
        ({"words": 3}, "item 1 has a rule 'words' with the value 3"),
        ({"words": [3]}, "item 1 has a rule 'words' with the value"),
        ({"mentions": [3]}, "item 1 has a rule 'mentions' with the value"),
        ({"begins": 3}, "item 1 has a rule 'begins' with the value 3"),
        ({"varied": "much"}, "item 1 has a rule 'varied' with the value 'much'"),
    ],
)
def test_rules_that_cannot_be_applied_are_named(rules: Any, message: str) -> None:
    item = Item("k", "writing", {"prompt": "Write.", "rules": rules})
    with pytest.raises(EvaluationError, match=message):
        Writing().check_items("writing", [item])
