"""What the model reads, and what of its answers is believed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.search.prompt import Question, answer_fittest

QUESTION = Question(
    [[("failed", [0, 9]), ("0.1", [10, 20])], [("0.2", [30, 40]), ("0.5", [50, 60])]],
    (100, 100),
    "0.8",
)


def test_history_stands_from_worst_to_best_and_ends_with_the_target() -> None:
    [message] = QUESTION.put()
    introduction, first, second, last = message["content"].split("\n\n")
    assert "a list of 2 integers from 0 to 100" in introduction
    assert first == "failed: [0, 9]\n0.1: [10, 20]"
    assert second == "0.2: [30, 40]\n0.5: [50, 60]"
    assert last == "0.8:"


def test_choices_are_said_to_have_no_order() -> None:
    [message] = Question([], (100, 2), "1", choices=[2]).put()
    assert "from 0 to at most 100, 2 in this order" in message["content"]
    assert "Integers number 2 stand for choices" in message["content"]


def test_without_a_target_no_fitness_is_spoken_of() -> None:
    [message] = Question([[("", [1, 2])]], (9, 9), "").put()
    assert "fitness" not in message["content"]
    assert message["content"].endswith("\n\n[1, 2]")


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.text("ab [", max_size=9))
@settings(deadline=None, max_examples=60)
def test_list_is_found_whatever_stands_around_it(point: list[int], noise: str) -> None:
    question = Question([], [100] * len(point), "1")
    answer = f"[7, 7] is near, so {noise}\n```json\n{json.dumps(point)}\n``` is right"
    assert question.read(answer) == point


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("", "no list in brackets"),
        ("50, 50", "no list in brackets"),
        ("[50, 5 0]", "no JSON"),
        ("[50, NaN]", "integers only"),
        ("[50, 1.5]", "integers only"),
        ("[50, true]", "integers only"),
        ('[50, "1"]', "integers only"),
        ("[50]", "holds 1 integers, not 2"),
        ("[1, 2, 3]", "holds 3 integers, not 2"),
        ("[]", "holds 0 integers, not 2"),
        ("[50, 101]", "integer 2 is 101, not from 0 to 100"),
        ("[-1, 50]", "integer 1 is -1, not from 0 to 100"),
        ("[1, " + "9" * 5000 + "]", "no JSON|not from 0"),
    ],
)
def test_bad_answer_is_refused_with_the_reason(answer: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        QUESTION.read(answer)


def test_model_is_told_what_was_wrong() -> None:
    said, asked = QUESTION.object("x" * 999, "it holds no list")
    assert said["role"] == "assistant"
    assert len(said["content"]) == 400
    assert asked["content"].startswith("That cannot be used: it holds no list. Answer with a list")


def test_mock_answers_with_the_fittest_point() -> None:
    assert answer_fittest(QUESTION.put())[0] == "[50, 60]"
    backwards = Question([*reversed(QUESTION.generations)], (100, 100), "0.8")
    assert answer_fittest(backwards.put())[0] == "[50, 60]"
    shown = [[("", [0]), ("", [10]), ("", [20]), ("", [30])]]
    assert answer_fittest(Question(shown, (100,), "").put())[0] == "[30]"
