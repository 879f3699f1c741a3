"""What a judge outside this program is told, and which of its answers count."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.evaluation.judge import check_metrics, read_answer, show
from evomerge.records import Item

ITEMS = [Item(f"k{number}", "t", {}) for number in range(3)]

numbers = st.lists(st.floats(allow_nan=False), min_size=1, max_size=9)


@settings(deadline=None, max_examples=50)
@given(scores=numbers, order=st.randoms(use_true_random=False))
def test_list_and_mapping_and_their_envelopes_mean_the_same(
    scores: list[float], order: Any
) -> None:
    items = [Item(f"k{number}", "t", {}) for number in range(len(scores))]
    pairs = [(item.key, score) for item, score in zip(items, scores, strict=True)]
    order.shuffle(pairs)
    for answer in (scores, {"scores": scores}, dict(pairs), {"scores": dict(pairs)}):
        assert read_answer(answer, items) == scores


@settings(deadline=None, max_examples=50)
@given(scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_named_numbers_are_one_score_for_all_items_their_mean(scores: list[float]) -> None:
    answer = {f"m{k}": score for k, score in enumerate(scores)} | {"note": "ignored"}
    names = check_metrics([f"m{k}" for k in range(len(scores))])
    found = read_answer(answer, ITEMS, names)
    assert len(found) == len(ITEMS)
    assert found == pytest.approx([sum(scores) / len(scores)] * len(ITEMS), abs=1e-6)


@pytest.mark.parametrize(
    ("answer", "metrics", "message"),
    [
        ({"k0": 1, "k1": 1}, (), r"the judge scored 2 of 3 items\. Give a score to every key"),
        (
            {"k0": 1, "k1": 1, "K2": 1},
            (),
            r"the judge scored 2 of 3 items; 'K2' is none of its items\. Give a score to every",
        ),
        ({"k0": 1, "k1": 1, "k2": 1, 7: 1}, (), "scored 3 of 3 items; '7' is none of its items"),
        ({"accuracy": 0.8}, (), r"scored 0 of 3 items.*or name the answer's numbers with `metri"),
        ([1, 1, 1], ("acc",), r"the judge gave \[1, 1, 1\], not numbers by name\. Answer with acc"),
        ({"ac": 1}, ("acc",), r"the judge gave no 'acc' \(did you mean 'ac'\?\)\. It gave ac"),
        ({}, ("acc",), r"gave no 'acc'\. It gave nothing"),
        ({"acc": "0.8"}, ("acc",), r"the judge gave '0\.8' for 'acc'\. Give a number"),
        ({"acc": [0.8]}, ("acc",), r"the judge gave \[0\.8\] for 'acc'"),
        ({"acc": None}, ("acc",), "the judge gave None for 'acc'"),
    ],
)
def test_answer_that_cannot_be_read_is_one_clear_line(
    answer: Any, metrics: Sequence[str], message: str
) -> None:
    with pytest.raises(EvaluationError, match=f"task t: .*{message}") as caught:
        read_answer(answer, ITEMS, metrics)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metrics", [[], "acc", [3], ["acc", None]])
def test_metrics_are_a_list_of_names(metrics: Any) -> None:
    with pytest.raises(ValueError, match="metrics must be a list of names, at least one"):
        check_metrics(metrics)


def test_long_answers_are_shown_in_one_short_line() -> None:
    assert show("a\nb") == r"'a\nb'"
    assert len(show(["x" * 100])) == 60
