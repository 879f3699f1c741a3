"""Texts as tokens: each encoded once, however often it comes."""

from collections.abc import Callable
from typing import Any

import pytest

from evomerge.inference import texts
from evomerge.inference.texts import Texts
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]


@pytest.fixture
def counted(make: Make) -> tuple[Texts, list[str]]:
    """Return texts, and what their tokenizer has been asked."""
    tokenizer, asked = make("llama", bos=False).tokenizer, []

    class Counting:
        eos_token_id = tokenizer.eos_token_id

        def __call__(self, several: list[str], **options: Any) -> Any:
            asked.extend(several)
            return tokenizer(several, **options)

    return Texts(Counting(), 1), asked


def test_a_text_is_encoded_once(counted: tuple[Texts, list[str]]) -> None:
    store, asked = counted
    assert store.encode(["abc", "de", "abc"]) == store.encode(["abc", "de", "abc"])
    assert asked == ["abc", "de"]


def test_what_is_kept_is_bounded(
    counted: tuple[Texts, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = counted
    monkeypatch.setattr(texts, "MOST_TEXTS", 2)
    for several in (["a", "b"], ["c"], ["a"], ["c"]):
        store.encode(several)
    assert asked == ["a", "b", "c", "a"]


def test_a_blank_belongs_to_the_word_after_it_and_no_context_is_empty(
    counted: tuple[Texts, list[str]],
) -> None:
    store, _ = counted
    (context, tail), (start, whole) = store.split([("ab ", "cd"), ("", "cd")])
    assert [context] == store.encode(["ab"])
    assert [tail] == store.encode([" cd"])
    assert (start, [whole]) == ([1], store.encode(["cd"]))


def test_a_text_longer_than_the_context_is_no_matter_for_the_tokenizer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import tokenization_utils_base

    told: list[str] = []
    monkeypatch.setattr(tokenization_utils_base.logger, "warning", told.append)
    tokenizer = make("llama", bos=False).tokenizer
    tokenizer.model_max_length = 4
    [ids] = Texts(tokenizer, 1).encode(["abcdefgh " * 4])
    assert len(ids) > 4
    assert not told
