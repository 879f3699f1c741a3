"""Tokenizers of every kind, trained on a few words and saved as transformers saves them."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

WORDS = (
    "the quick brown fox jumps over the lazy dog while seven wizards brew bitter potions "
    "for their younger brothers and the foxes keep jumping over dogs and wizards"
)
TrainTokenizer = Callable[..., Path]
WriteTokenizer = Callable[..., Path]


@pytest.fixture
def train_tokenizer(tmp_path: Path) -> TrainTokenizer:
    """Return train(name, kind, text=, size=, added=, **special) -> folder."""

    def train(
        name: str,
        kind: str = "BPE",
        *,
        text: str = WORDS,
        size: int = 300,
        added: Iterable[str | AddedToken] = (),
        **special: str,
    ) -> Path:
        from transformers import PreTrainedTokenizerFast

        tokenizer = Tokenizer.from_str(_train(kind, text, size))
        named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"} | special
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
        fast.add_tokens([token for token in added if isinstance(token, str)])
        fast.add_tokens([token for token in added if not isinstance(token, str)])
        fast.save_pretrained(tmp_path / name)
        return tmp_path / name

    return train


@pytest.fixture
def write_tokenizer_json(tmp_path: Path) -> WriteTokenizer:
    """Return write(name, tokens, added=, settings=) -> folder of a WordLevel tokenizer."""

    def write(
        name: str,
        tokens: Iterable[str] | Mapping[str, int],
        added: Iterable[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Path:
        ids = tokens if isinstance(tokens, Mapping) else {t: n for n, t in enumerate(tokens)}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        entries = [
            {"id": len(ids) + n, "content": token, **flags, "special": True}
            for n, token in enumerate(added)
        ]
        table = {
            "version": "1.0",
            "added_tokens": entries,
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": dict(ids), "unk_token": next(iter(ids), "")},
        }
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(table))
        stated = {"tokenizer_class": "PreTrainedTokenizerFast", **(settings or {})}
        (folder / "tokenizer_config.json").write_text(json.dumps(stated))
        return folder

    return write


@cache  # the trainers break ties at random: equal requests must give equal tokenizers
def _train(kind: str, text: str, size: int) -> str:
    tokenizer = _untrained(kind)
    tokenizer.train_from_iterator([text] * 3, _trainer(kind, size))
    return str(tokenizer.to_str())


def _untrained(kind: str) -> Tokenizer:
    if kind == "BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    elif kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _trainer(kind: str, size: int) -> Any:
    special = {"special_tokens": ["<unk>", "<s>", "</s>"], "show_progress": False}
    if kind == "BPE":
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, **special)
    if kind == "WordPiece":
        return trainers.WordPieceTrainer(vocab_size=size, **special)
    if kind == "Unigram":
        return trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", **special)
    return trainers.WordLevelTrainer(vocab_size=size, **special)
