"""A model's name becomes a folder, or one line that says where it was looked for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evomerge.checkpoints.locate import locate, zoo_models
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]


def test_a_folder_is_found_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(str(tmp_path / "models" / "mine")).is_dir()
    assert locate("models/mine") == Path("models/mine")
    assert locate("~/models/mine") == tmp_path / "models" / "mine"


def test_every_embedded_model_is_found_by_name() -> None:
    assert set(zoo_models()) >= {"base", "reverse", "sort", "successor", "duplicate"}
    for name, folder in zoo_models().items():
        assert locate(f"zoo:{name}") == folder
        assert (folder / "config.json").is_file()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("zoo:bse", r"the zoo has no model 'bse' \(did you mean 'base'\?\)\. It has base, "),
        ("zoo:", "the zoo has no model ''"),
        ("zoo:../tasks", r"the zoo has no model '\.\./tasks'"),
        ("/no/such/folder", "there is no model folder /no/such/folder. Give a folder, zoo:NAME"),
        ("./nothing", r"there is no model folder \./nothing\. Give a folder"),
        ("nothing", "there is no model folder nothing"),
        ("", "there is no model folder"),
        ("~nobody-of-that-name/model", "there is no model folder ~nobody-of-that-name/model"),
        ("a" * 5000, "there is no model folder aaaa"),
        ("a\0b", "there is no model folder"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(reference: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        locate(reference)
    assert "\n" not in str(caught.value)


def test_a_file_is_not_a_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"is a file, not a model folder. Name the folder"):
        locate(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    "reference", ["owner/no-such-model", "owner/no-such-model@main", "own er/mo del", "owner/a--b"]
)
def test_a_hub_id_without_a_hub_fails_at_once_in_one_line(reference: str) -> None:
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="is neither a folder here nor to be had") as caught:
        locate(reference)
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)
    assert f"hf download {reference.partition('@')[0]}" in str(caught.value)


def test_a_hub_that_does_not_answer_is_told_within_seconds(tmp_path: Path) -> None:
    refused = "http://127.0.0.1:9"  # the discard port: nobody listens
    settings = {"HF_ENDPOINT": refused, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    code = "from evomerge.checkpoints.locate import locate; locate('owner/no-such-model')"
    start = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - start < 30
    assert "owner/no-such-model is neither a folder here nor to be had" in ended.stderr
    assert ended.returncode == 1


def test_a_cached_hub_model_is_found_offline(
    tiny_llama: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo = tmp_path / "models--owner--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "blobs").mkdir()
    (repo / "snapshots" / commit).mkdir(parents=True)
    for file in tiny_llama(0).iterdir():
        (repo / "blobs" / file.name).write_bytes(file.read_bytes())
        (repo / "snapshots" / commit / file.name).symlink_to(f"../../blobs/{file.name}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = locate("owner/tiny@main")
    assert folder.name == commit
    assert (folder / "model.safetensors").is_file()
