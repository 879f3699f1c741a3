"""A number per question: where metrics are means, sums of logarithms, or of sentences."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.registry import get_aggregation

from evomerge.evaluation.harness.metrics import RULES, Metric, sum_up

finite = st.floats(-1e6, 1e6)
nats = st.floats(-700, -1e-3)  # beyond, a perplexity is infinite


def of_item(aggregation: str, value: Any) -> float:
    return Metric("m", "none", aggregation, True).of_item(value, get_aggregation(aggregation))


@given(st.lists(finite, min_size=1, max_size=20))
@settings(deadline=None, max_examples=25)
def test_mean_of_the_numbers_is_the_harness_mean(values: list[float]) -> None:
    mine = [of_item("mean", value) for value in values]
    assert sum(mine) / len(mine) == pytest.approx(get_aggregation("mean")(values))


@given(nats, st.integers(1, 500))
@settings(deadline=None, max_examples=25)
def test_rate_of_one_document_is_the_logarithm_of_its_perplexity(value: float, size: int) -> None:
    pair = (value, size)
    perplexity = get_aggregation("weighted_perplexity")([pair])
    assert of_item("weighted_perplexity", pair) == pytest.approx(math.log(perplexity))
    assert of_item("bits_per_byte", pair) == pytest.approx(get_aggregation("bits_per_byte")([pair]))
    alone = get_aggregation("perplexity")([value])
    assert of_item("perplexity", value) == pytest.approx(math.log(alone))


@pytest.mark.parametrize("aggregation", ["bleu", "chrf", "chrf++", "ter"])
def test_translation_metrics_are_taken_sentence_by_sentence(aggregation: str) -> None:
    pair = ("the cat sat on the mat today", "the cat sat on a mat today")
    assert of_item(aggregation, pair) == get_aggregation(aggregation)([pair])
    same = of_item(aggregation, (pair[0], pair[0]))
    assert same == pytest.approx(0.0 if aggregation == "ter" else 100.0)


def test_every_rule_is_for_an_aggregation_of_the_harness() -> None:
    assert all(get_aggregation(name) is not None for name in RULES)


def test_perplexity_beyond_all_numbers_is_infinite_and_no_failure() -> None:
    class Prose:
        def aggregation(self) -> dict[str, Any]:
            return {"word_perplexity": get_aggregation("weighted_perplexity")}

    assert sum_up(Prose(), {"word_perplexity,none": [(-9000.0, 9)]}) == {
        "word_perplexity,none": math.inf
    }
