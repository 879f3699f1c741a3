"""Batched, cached and padded as it may be: the numbers are those of one plain forward pass."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.inference import batches
from evomerge.inference.transformers_model import TransformersModel

LIMIT = 48
Make = Callable[..., TransformersModel]
Naive = Callable[[TransformersModel, Sequence[int], Sequence[int]], float]


def encode(model: TransformersModel, text: str) -> list[int]:
    return list(model.tokenizer(text)["input_ids"])


KINDS = [
    "zoo", "llama", "qwen2", "mistral", "gemma2", "gemma3_text", "cohere", "gpt_neox", "opt",
    "gpt2", "bloom", "mamba",
]  # fmt: skip
words = st.text(st.sampled_from("abcdefghij="), min_size=1, max_size=12)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_scores_are_those_of_a_plain_forward_pass(
    kind: str, data: st.DataObject, make: Make, naive: Naive
) -> None:
    model = make(kind)
    contexts = data.draw(st.lists(words, min_size=1, max_size=4))
    pairs = st.tuples(st.sampled_from(["", *contexts]), words)
    requests = data.draw(st.lists(pairs, min_size=1, max_size=9))
    found = model.score(requests)
    for (context, continuation), score in zip(requests, found, strict=True):
        head = encode(model, context)
        whole = encode(model, context + continuation)
        start = min(len(head), len(whole) - 1)  # 'a' + 'b' is the one token 'ab'
        assert score == pytest.approx(naive(model, whole[:start], whole[start:]), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_of_very_different_lengths_never_give_nan(
    kind: str, attention: str, make: Make, naive: Naive
) -> None:
    model = make(kind, attention=attention)
    requests = [("", "c"), ("c" * 40, "d"), ("d", "cdefgh"), ("", "cdcdcd"), ("e" * 3, "f")]
    found = model.score(requests)
    assert all(math.isfinite(score) and score < 0 for score in found)
    for (context, continuation), score in zip(requests, found, strict=True):
        expected = naive(model, encode(model, context), encode(model, continuation)[1:])
        assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_company_do_not_matter(
    kind: str, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    model, source = make(kind), random.Random(3)
    requests = [
        ("".join(source.choices("cdefghij", k=source.randrange(0, 15))), f"c{c}")
        for c in "defghij"
        for _ in range(4)
    ]
    together = model.score(requests)
    assert model.score(requests) == together, "the same requests give the same bits"
    order = source.sample(range(len(requests)), len(requests))
    permuted = model.score([requests[i] for i in order])
    assert permuted == pytest.approx([together[i] for i in order], abs=1e-4)
    assert [model.score([r])[0] for r in requests] == pytest.approx(together, abs=1e-4)
    monkeypatch.setattr(batches, "BATCH_TOKENS", 40)
    assert model.score(requests) == pytest.approx(together, abs=1e-4)


def test_without_a_start_token_the_end_token_begins_the_text(make: Make, naive: Naive) -> None:
    model = make("gpt2", bos=False)
    requests = [("", "c"), ("", "cd"), ("  ", "e")]
    expected = [
        naive(model, [2], encode(model, "c")),
        naive(model, [2], encode(model, "cd")),
        naive(model, [2], encode(model, "  e")),
    ]
    assert model.score(requests) == pytest.approx(expected, abs=1e-4)


def test_a_token_that_spans_context_and_continuation_is_scored_whole(
    make: Make, naive: Naive
) -> None:
    model = make("gpt2", bos=False)
    ab = encode(model, "ab")
    assert len(ab) == 1
    assert model.score([("a", "b")]) == pytest.approx([naive(model, [2], ab)], abs=1e-4)
    (score,) = model.score([("ca", "b")])
    assert score == pytest.approx(naive(model, encode(model, "c"), ab), abs=1e-4)


def test_an_empty_continuation_is_certain(make: Make) -> None:
    model = make("llama")
    assert model.score([("cd", ""), ("", ""), ("cd", "e")])[:2] == [0.0, 0.0]
    assert model.score([]) == []


def test_white_space_at_a_contexts_end_belongs_to_the_continuation(make: Make) -> None:
    model = make("llama")
    spaced, moved = model.score([("cd= ", "e"), ("cd=", " e")])
    assert spaced == pytest.approx(moved, abs=1e-5)


def test_unicode_is_scored_as_it_is_tokenized(make: Make, naive: Naive) -> None:
    model = make("llama")
    head, tail = encode(model, "é漢"), encode(model, "漢é")[1:]
    assert model.score([("é漢", "漢é")]) == pytest.approx([naive(model, head, tail)], abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_a_long_context_is_cut_at_its_beginning(kind: str, make: Make, naive: Naive) -> None:
    model = make(kind)
    context, continuation = "cdefghij" * 20, "cde"
    whole = encode(model, context + continuation)
    expected = naive(model, whole[-LIMIT - 1 : -3], whole[-3:])
    assert model.score([(context, continuation)]) == pytest.approx([expected], abs=1e-4)
    full = "cdefghij" * (LIMIT // 8)
    assert math.isfinite(model.score([("c", full)])[0])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_text_longer_than_the_models_context_is_told(kind: str, make: Make) -> None:
    with pytest.raises(
        EvaluationError, match=r"a text of 56 tokens is longer than .* of 48. Split it"
    ):
        make(kind).score([("c", "cdefghij" * 7)])


# -------------------------------------------------------------------------------- generation


def greedy(model: TransformersModel, prompt: str, count: int) -> str:
    """Continue a prompt alone, by transformers' own greedy search."""
    ids = torch.tensor([encode(model, prompt)])
    out = model.module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    return str(model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("kind", KINDS)
def test_generation_is_transformers_own_token_for_token(kind: str, make: Make) -> None:
    model = make(kind)
    prompts = ["r abc=", "", "d", "s hgfed=", "c" * 20, "n ba=", "é漢"]
    expected = [greedy(model, prompt, 12) for prompt in prompts]
    assert model.generate(prompts, max_new_tokens=12) == expected
    assert model.generate(prompts[::-1], max_new_tokens=12) == expected[::-1]
    assert len(set(expected)) > 2


def test_a_stop_string_and_what_follows_it_are_cut_off(make: Make) -> None:
    model = make("zoo")
    prompts = [f"r {word}=" for word in ("abcd", "hgf", "xy")]
    plain = model.generate(prompts, max_new_tokens=10)
    for text, stopped in zip(
        plain, model.generate(prompts, max_new_tokens=10, stop=["b", "zz"]), strict=True
    ):
        assert stopped == text.split("b")[0].split("zz")[0]
    assert model.generate(prompts, max_new_tokens=10, stop=["never"]) == plain


def test_an_end_token_ends_its_own_row_only(make: Make) -> None:
    model = make("zoo")
    (alone,) = model.generate(["s ba="], max_new_tokens=30)
    beside = model.generate(["s ba=", "d abcdefgh="], max_new_tokens=30)
    assert beside[0] == alone
    assert len(beside[1]) > len(alone)
    assert "</s>" not in "".join(beside)


def test_a_long_prompt_is_cut_at_its_beginning(make: Make) -> None:
    model = make("gpt2")
    (text,) = model.generate(["cdefghij" * 20], max_new_tokens=8)
    kept = ("cdefghij" * 20)[-(LIMIT - 8) :]
    ids = torch.tensor([encode(model, kept)[1:]])
    out = model.module.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert text == model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_more_new_tokens_than_the_model_has_room_for_are_refused(make: Make) -> None:
    with pytest.raises(
        EvaluationError, match=r"max_new_tokens: 48 leaves no room for a prompt in .*48"
    ):
        make("gpt2").generate(["c"], max_new_tokens=48)
    assert make("gpt2").generate([], max_new_tokens=4) == []
