"""What an audit counts, and which winners it finds suspicious."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.evaluation import Audit, find_suspicions
from evomerge.evaluation.audit import HEAVY, SHORTEST, describe_measures, measure_repetition
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Generation


def answer(text: str = "fine", tokens: int = 4, *, finished: bool = True) -> Generation:
    return Generation("?", text, tokens, finished)


def test_every_measure_is_a_share_of_what_was_noted() -> None:
    audit = Audit()
    for generation in (
        answer(),
        answer("  \n", 2),
        answer("ab " * 200, 6, finished=False),
        answer("x", finished=False),
    ):
        audit.note_generation(generation)
    audit.note_extraction(True)
    audit.note_extraction(False)
    for right in (True, True, True, False):
        audit.note_language(right)
    audit.note_likelihoods([-1.0, -math.inf, math.nan, -2.0, 0.0])
    assert audit.measures() == {
        "answers": 4,
        "mean_tokens": 4,
        "truncated": 0.5,
        "empty": 0.25,
        "repetitive": 0.25,
        "unparsed": 0.5,
        "wrong_language": 0.25,
        "nonfinite": 0.4,
    }


def test_nothing_noted_is_nothing_measured() -> None:
    assert Audit().measures() == {}


LETTERS = random.Random(1)
PROSE = " ".join(
    "".join(LETTERS.choices("abcdefghijklmnopqrstuvwxyz", k=LETTERS.randint(2, 9)))
    for _ in range(200)
)


@pytest.mark.parametrize(
    ("text", "heavy"),
    [
        (PROSE, False),
        (PROSE + PROSE[:300], False),
        ("The answer is 42. " * 10, True),
        ("答えは四十二です。" * 12, True),
        (PROSE[:100] + " and so on" * 60, True),
        ("ha ha ha ha ha", False),  # too short to be called so
        ("", False),
    ],
)
def test_loops_are_heavy_repetition_and_prose_is_not(text: str, heavy: bool) -> None:
    assert (measure_repetition(text) > HEAVY) is heavy


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=300))
def test_repetition_is_a_share_that_grows_with_every_copy(text: str) -> None:
    found = measure_repetition(text)
    assert 0 <= found < 1
    folded = " ".join(text.split())
    if len(folded) >= SHORTEST:
        assert measure_repetition(f"{folded} {folded}") > found


@pytest.mark.parametrize(
    ("winner", "parents", "message"),
    [
        (
            {"truncated": 0.38},
            [{"truncated": 0.02}, {"truncated": 0.5}],
            "t: 38% of the answers end at the token limit (best parent: 2%)",
        ),
        (
            {"unparsed": 0.2},
            [{"unparsed": 0.0}],
            "t: 20% of the answers hold nothing that could be extracted (best parent: 0%)",
        ),
        (
            {"wrong_language": 0.06},
            [{}],
            "t: 6% of the answers are not in the wanted language (best parent: 0%)",
        ),
        ({"empty": 1.0}, [], "t: 100% of the answers are empty (best parent: 0%)"),
        (
            {"repetitive": 0.5},
            [{"repetitive": 0.24}],
            "t: 50% of the answers repeat themselves (best parent: 24%)",
        ),
        (
            {"nonfinite": 0.001},
            [{"nonfinite": 0.5}],
            "t: 0.10% of the log-likelihoods are NaN or infinite",
        ),
        (
            {"mean_tokens": 40.0},
            [{"mean_tokens": 9.0}, {"mean_tokens": 13.0}],
            "t: answers are 40.0 tokens long on average (parents: 9.0 to 13.0)",
        ),
        (
            {"mean_tokens": 2.0},
            [{"mean_tokens": 9.0}, {"mean_tokens": 13.0}],
            "t: answers are 2.0 tokens long on average (parents: 9.0 to 13.0)",
        ),
    ],
)
def test_what_is_worse_than_the_best_parent_is_suspicious(
    winner: dict[str, float], parents: list[dict[str, float]], message: str
) -> None:
    assert find_suspicions({"t": winner}, [{"t": parent} for parent in parents]) == (message,)


@pytest.mark.parametrize(
    ("winner", "parents"),
    [
        ({"truncated": 0.05}, [{"truncated": 0.0}]),
        ({"truncated": 0.5}, [{"truncated": 0.25}]),
        ({"nonfinite": 0.0}, []),
        ({"mean_tokens": 3.0}, []),
        ({"mean_tokens": 27.0}, [{"mean_tokens": 9.0}]),
        ({"mean_tokens": 3.0}, [{"mean_tokens": 9.0}]),
        ({}, [{"truncated": 0.0}]),
    ],
)
def test_what_is_rare_or_as_common_in_a_parent_is_not(
    winner: dict[str, float], parents: list[dict[str, float]]
) -> None:
    assert find_suspicions({"t": winner}, [{"t": parent} for parent in parents]) == ()


def test_tasks_are_held_against_themselves() -> None:
    winner = {"a": {"empty": 0.2}, "b": {"empty": 0.2}}
    parents = [{"a": {"empty": 0.2}}, {"b": {"empty": 0.0}}]
    assert [line[:2] for line in find_suspicions(winner, parents)] == ["b:"]


def test_measures_are_described_in_one_line() -> None:
    measures = {"answers": 60.0, "mean_tokens": 4.25, "truncated": 0.025, "nonfinite": 0.0}
    told = "60 answers of 4.2 tokens; 2.5% truncated; 0.0% nonfinite"
    assert describe_measures(measures) == told
    assert describe_measures({}) == ""


def test_watched_model_answers_as_before_and_is_counted() -> None:
    folder = locate("zoo:sort")
    model = TransformersModel(load_model(folder).float(), load_tokenizer(folder))
    audit = Audit()
    watched: Any = audit.watch(model)
    prompts, requests = ["sort:dcba=", "sort:hgf="], [("sort:ba=", "ab"), ("sort:ba=", "ba")]
    heard: list[Generation] = []
    expected = model.generate(prompts, max_new_tokens=3)
    assert watched.generate(prompts, max_new_tokens=3, witness=heard.append) == expected
    assert watched.score(requests) == model.score(requests)
    assert watched.module is model.module
    assert watched.tokenizer is model.tokenizer
    assert watched.context_limit == model.context_limit
    measures = audit.measures()
    assert [generation.text for generation in heard] == expected
    assert measures["answers"] == 2
    assert measures["mean_tokens"] == sum(g.tokens for g in heard) / 2
    assert measures["truncated"] == sum(not g.finished for g in heard) / 2
    assert measures["nonfinite"] == 0


def test_token_level_calls_are_counted_too() -> None:
    folder = locate("zoo:sort")
    model = TransformersModel(load_model(folder).float(), load_tokenizer(folder))
    audit = Audit()
    watched: Any = audit.watch(model)
    ids = model.tokenizer("abcd")["input_ids"]
    watched.score_tokens([(ids[:2], ids[2:]), (ids[:3], ids[3:])])
    watched.generate_tokens([ids], max_new_tokens=2)
    measures = audit.measures()
    assert (measures["nonfinite"], measures["answers"]) == (0, 1)
