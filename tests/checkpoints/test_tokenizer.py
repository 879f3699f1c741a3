"""Tokenizer files travel along whole, and are compared by what decides the ids."""

import json
import shutil
from pathlib import Path

import pytest

from evomerge.checkpoints.locate import locate
from evomerge.checkpoints.tokenizer import copy_tokenizer, fingerprint_tokenizer
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
