"""Scores of tokens: those of plain passes, greedy flags too, with far fewer tokens computed."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.inference import batches, families, scoring
from evomerge.inference.scoring import TokenScore
from evomerge.inference.transformers_model import TransformersModel

LIMIT = 160
KINDS = ["llama", "qwen2", "mistral", "gemma2", "gemma3_text", "cohere", "gpt_neox", "opt", "gpt2",
         "bloom", "mamba", "rwkv", "gpt_neo", "phi3"]  # fmt: skip
Make = Callable[..., TransformersModel]
Request = tuple[Sequence[int], Sequence[int]]

token = st.integers(3, 23)
beginnings = st.lists(st.lists(token, max_size=60), min_size=1, max_size=3)


def plain(model: TransformersModel, context: Sequence[int], tail: Sequence[int]) -> TokenScore:
    """Score by one full forward pass of the row alone."""
    row = [*context, *tail][-(LIMIT + 1) :]
    with torch.inference_mode():
        logits = model.module(input_ids=torch.tensor([row[:-1]])).logits[0].double()
    logits = logits[len(row) - 1 - len(tail) :].log_softmax(-1)
    chosen = [float(line[token]) for line, token in zip(logits, tail, strict=True)]
    return TokenScore(sum(chosen), logits.argmax(1).tolist() == list(tail))


def check(model: TransformersModel, requests: Sequence[Request]) -> None:
    """Hold every score against a pass of its own."""
    for request, found in zip(requests, model.score_tokens(requests), strict=True):
        expected = plain(model, *request) if request[1] else TokenScore(0.0, True)
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-4)
        assert found.greedy == expected.greedy


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_ragged_requests_with_shared_beginnings_have_plain_scores(
    kind: str, make: Make, data: st.DataObject
) -> None:
    stems = data.draw(beginnings)
    contexts = st.tuples(st.sampled_from(stems), st.lists(token, min_size=1, max_size=9))
    context = data.draw(st.lists(contexts.map(lambda c: (*c[0], *c[1])), min_size=1, max_size=5))
    pairs = st.tuples(st.sampled_from(context), st.lists(token, max_size=7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "LEAST", data.draw(st.sampled_from([1, 4, 32])))
        patch.setattr(batches, "BATCH_TOKENS", data.draw(st.sampled_from([50, 300, 8192])))
        patch.setattr(batches, "PADDING", data.draw(st.sampled_from([0, 10, 1000])))
        patch.setattr(scoring, "WIDEST", data.draw(st.sampled_from([1, 256])))
        check(make(kind, limit=LIMIT), data.draw(st.lists(pairs, max_size=14)))


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_recognised(kind: str, make: Make) -> None:
    model = make(kind, limit=LIMIT)
    context = [1, *random.Random(0).choices(range(3, 24), k=30)]
    ids = torch.tensor([context])
    written = model.module.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, pad_token_id=0
    )
    best = written[0, len(context) :].tolist()
    wrong = [*best[:-1], (best[-1] + 1) % 24]
    found = model.score_tokens([(context, best), (context, wrong), (context, best[:1])])
    assert [score.greedy for score in found] == [True, False, True]
    assert found[0].log_likelihood > found[1].log_likelihood


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "mamba", "gpt_neo", "phi3"])
def test_rows_are_cut_as_the_harness_cuts_them(kind: str, make: Make) -> None:
    model = make(kind, limit=LIMIT)
    source = random.Random(2)
    limit = model.context_limit
    longest = source.choices(range(3, 24), k=limit + 9)
    contexts = [longest[-k:] for k in (limit - 9, limit - 3, limit - 2, limit, limit + 9)]
    tails = [[4, 5, 6], [7, 8, 9], [7], list(range(5, 17)), list(range(6, 18))]
    requests = [(context, tail) for context in contexts for tail in tails]
    if kind != "mamba":
        assert limit == LIMIT
        check(model, requests)
    with pytest.raises(EvaluationError, match=rf"a text of {limit + 1} tokens is longer than"):
        model.score_tokens([([3], [4] * (limit + 1))])


def test_an_empty_context_is_the_start_token_and_an_empty_continuation_is_certain(
    make: Make,
) -> None:
    model = make("llama")
    assert model.score_tokens([([], [5, 6])]) == model.score_tokens([([1], [5, 6])])
    assert model.score_tokens([([5], []), ([], [])]) == [TokenScore(0.0, True)] * 2
    assert model.score_tokens([]) == []


@contextmanager
def counting(model: TransformersModel) -> Iterator[dict[str, int]]:
    """Count the tokens that pass through a model, and the positions that logits are made for."""
    counts = {"tokens": 0, "logits": 0}
    model.score_tokens(four_choices(0, 1))  # finds out what can be shared, once

    def count(_: Any, __: Any, keywords: dict[str, Any], out: Any) -> None:
        counts["tokens"] += keywords["input_ids"].numel()
        counts["logits"] += out.logits.shape[:2].numel()

    hook = model.module.register_forward_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        hook.remove()


def four_choices(shots: int, documents: int = 6) -> list[Request]:
    """Make documents of equal length with four answers of five tokens each."""
    source = random.Random(5)
    examples = source.choices(range(3, 24), k=shots)
    contexts = [[*examples, *source.choices(range(3, 24), k=30)] for _ in range(documents)]
    return [(c, source.choices(range(3, 24), k=5)) for c in contexts for _ in range(4)]


def test_a_context_is_computed_once_and_logits_only_where_they_are_asked_for(make: Make) -> None:
    model, requests = make("llama", limit=LIMIT), four_choices(0)
    with counting(model) as counts:
        model.score_tokens(requests)
    assert counts["tokens"] == 6 * 30 + 24 * 4
    assert counts["logits"] == 6 + 24 * 4


def test_examples_that_all_contexts_share_are_computed_once(make: Make) -> None:
    model, requests = make("llama", limit=LIMIT), four_choices(100)
    with counting(model) as counts:
        model.score_tokens(requests)
    assert counts["tokens"] == 100 + 6 * 30 + 24 * 4
    check(model, requests)


def test_one_token_answers_need_no_second_pass_and_equal_requests_none_at_all(make: Make) -> None:
    model = make("llama", limit=LIMIT)
    letters = [(context, tail[:1]) for context, tail in four_choices(0)]
    with counting(model) as counts:
        once = model.score_tokens(letters)
    assert counts == {"tokens": 6 * 30, "logits": 6}
    with counting(model) as counts:
        assert model.score_tokens([*letters, *letters]) == [*once, *once]
    assert counts == {"tokens": 6 * 30, "logits": 6}


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_answers_that_differ_in_their_last_token_are_read_together(kind: str, make: Make) -> None:
    model = make(kind, limit=LIMIT)
    requests = [(context, [5, 6, last]) for context, _ in four_choices(0) for last in (7, 8, 9)]
    with counting(model) as counts:
        model.score_tokens(requests)
    assert counts["tokens"] == 6 * 30 + 6 * 2
    check(model, requests)


@pytest.mark.parametrize(
    ("context", "tail", "widest"), [([1], 90, 90), ([9] * 30, 20, 60), ([9] * 70, 20, 70)]
)
def test_no_row_is_much_wider_than_what_it_continues(
    make: Make, context: list[int], tail: int, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side every continuation looks at all others: the cost grows with the square."""
    monkeypatch.setattr(scoring, "WIDEST", 60)
    model, source = make("llama", limit=LIMIT), random.Random(6)
    requests = [(context, source.choices(range(3, 24), k=tail)) for _ in range(20)]
    model.score_tokens(four_choices(0, 1))
    widths = []
    model.module.register_forward_pre_hook(
        lambda _, __, keywords: widths.append(keywords["input_ids"].shape[1]), with_kwargs=True
    )
    check(model, requests)
    assert max(widths[: -len(requests)]) <= widest


def test_broken_weights_give_nan_not_an_error(make: Make) -> None:
    model = make("gpt_neox", limit=64)
    weight = model.module.get_output_embeddings().weight
    kept = weight.detach().clone()
    try:
        weight.data.fill_(float("nan"))
        found = model.score_tokens(four_choices(0, 2))
        assert all(score.log_likelihood != score.log_likelihood for score in found)
    finally:
        weight.data.copy_(kept)
