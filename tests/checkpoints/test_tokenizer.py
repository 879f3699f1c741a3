"""Tokenizer files travel along whole, and are compared by what decides the ids."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from evomerge.checkpoints.loading import load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.checkpoints.tokenizer import (
    copy_tokenizer,
    fingerprint_tokenizer,
    has_tokenizer,
    read_tokenizer,
    special_ids,
)
from evomerge.errors import CheckpointError


def test_tokenizer_files_are_copied_to_the_byte_and_nothing_else_is(tmp_path: Path) -> None:
    source = locate("zoo:base")
    names = copy_tokenizer(source, tmp_path)
    assert set(names) == {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (source / name).read_bytes()


def test_padding_and_truncation_do_not_make_another_tokenizer(tmp_path: Path) -> None:
    shutil.copy(locate("zoo:base") / "tokenizer.json", tmp_path)
    before = fingerprint_tokenizer(tmp_path)
    table = json.loads((tmp_path / "tokenizer.json").read_text())
    table |= {"padding": None, "truncation": {"max_length": 7}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(table, indent=4))
    assert fingerprint_tokenizer(tmp_path) == before
    table["model"]["vocab"]["new"] = 99
    (tmp_path / "tokenizer.json").write_text(json.dumps(table))
    assert fingerprint_tokenizer(tmp_path) != before


def test_old_style_vocabularies_count_and_none_gives_an_empty_fingerprint(tmp_path: Path) -> None:
    assert fingerprint_tokenizer(tmp_path) == ""
    (tmp_path / "vocab.json").write_text("{}")
    first = fingerprint_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("a b")
    assert len({"", first, fingerprint_tokenizer(tmp_path)}) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_damaged_tokenizer_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged: .*Fetch the file") as e:
        fingerprint_tokenizer(tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("kind", ["BPE", "WordPiece", "Unigram", "WordLevel"])
def test_tokens_and_ids_are_those_transformers_finds(
    train_tokenizer: Callable[..., Path], kind: str
) -> None:
    folder = train_tokenizer("model", kind, added=["zork", "<|end|>"], pad_token="[PAD]")
    tokenizer, loaded = read_tokenizer(folder), load_tokenizer(folder)
    assert tokenizer.tokens == loaded.get_vocab()
    assert tokenizer.added.keys() == loaded.get_added_vocab().keys()
    assert special_ids(tokenizer) == {
        "bos_token_id": loaded.bos_token_id,
        "eos_token_id": loaded.eos_token_id,
        "unk_token_id": loaded.unk_token_id,
        "pad_token_id": loaded.pad_token_id,
    }


def test_added_tokens_have_the_ids_the_library_gives_them_not_those_claimed(
    write_tokenizer_json: Callable[..., Path],
) -> None:
    folder = write_tokenizer_json("model", {"<unk>": 0, "a": 1, "b": 2}, added=["<x>", "<y>", "a"])
    table = json.loads((folder / "tokenizer.json").read_text())
    table["added_tokens"][0]["id"] = 77
    (folder / "tokenizer.json").write_text(json.dumps(table))
    tokens = read_tokenizer(folder).tokens
    assert tokens == Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    assert tokens == {"<unk>": 0, "a": 1, "b": 2, "<x>": 3, "<y>": 4}


def test_tokens_that_only_the_settings_name_are_found_as_transformers_adds_them(
    write_tokenizer_json: Callable[..., Path],
) -> None:
    settings = {
        "pad_token": {"content": "[PAD]", "__type": "AddedToken"},
        "additional_special_tokens": ["<more>", "a"],
        "added_tokens_decoder": {"3": {"content": "<three>", "special": False}},
    }
    tokenizer = read_tokenizer(write_tokenizer_json("model", ("<unk>", "a", "b"), (), settings))
    assert tokenizer.tokens == {"<unk>": 0, "a": 1, "b": 2, "<three>": 3, "[PAD]": 4, "<more>": 5}
    assert tokenizer.added["<three>"]["special"] is False
    assert special_ids(tokenizer) == {"pad_token_id": 4}


def test_older_files_are_read_through_transformers(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    trained = train_tokenizer("trained")
    old = tmp_path / "old"
    old.mkdir()
    Tokenizer.from_file(str(trained / "tokenizer.json")).model.save(str(old))
    settings = {"tokenizer_class": "GPT2Tokenizer", "unk_token": "<unk>", "eos_token": "</s>"}
    (old / "tokenizer_config.json").write_text(json.dumps(settings))
    assert has_tokenizer(old)
    assert read_tokenizer(old).tokens == load_tokenizer(old).get_vocab()


def test_a_folder_without_a_tokenizer_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert not has_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="has no tokenizer that can be read"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [
        ({"a": 0, "b": 0, "c": 1}, r"1 ids stand for more than one token \(0: 'a', 'b'\)"),
        ({"a": -1}, "its token ids must be whole numbers from 0 on"),
        ({"a": "0"}, "its token ids must be whole numbers from 0 on"),
        ({}, "its token ids must be whole numbers from 0 on"),
        (["a", "b"], "no vocabulary can be read from it"),
        (None, "no vocabulary can be read from it"),
        (7, "no vocabulary can be read from it"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_one_clear_line(
    tmp_path: Path, vocabulary: object, reason: str
) -> None:
    table = {"model": {"type": "WordLevel", "vocab": vocabulary}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json is damaged: {reason}") as error:
        read_tokenizer(tmp_path)
    assert "\n" not in str(error.value)
