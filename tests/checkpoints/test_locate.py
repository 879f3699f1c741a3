"""A model's name becomes a folder, or one line that says where it was looked for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evomerge.checkpoints.locate import (
    Reference,
    locate,
    locate_adapter,
    parse_reference,
    zoo_models,
)
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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache(files: Path, repo: Path, reference: str) -> None:
    """Lay files out as the hub's client caches them."""
    snapshot = repo / "snapshots" / COMMIT
    for folder in (repo / "refs", repo / "blobs", snapshot):
        folder.mkdir(parents=True)
    (repo / "refs" / reference).write_text(COMMIT)
    for file in files.iterdir():
        (repo / "blobs" / file.name).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")


def test_a_cached_hub_model_is_found_offline(
    tiny_llama: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    cache(tiny_llama(0), tmp_path / "models--owner--tiny", "main")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for reference in ("owner/tiny", "owner/tiny@main", f"owner/tiny@{COMMIT}"):
        folder = locate(reference)
        assert folder.name == COMMIT
        assert (folder / "model.safetensors").is_file()
    with pytest.raises(CheckpointError, match=r"first: hf download owner/tiny --revision other$"):
        locate("owner/tiny@other")


def test_a_cached_hub_adapter_is_found_offline_at_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    (tmp_path / "files").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "files" / name).write_bytes(b"{}")
    cache(tmp_path / "files", tmp_path / "models--owner--lora", "v2")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = locate_adapter("owner/lora@v2")
    assert (folder / "adapter_model.safetensors").read_bytes() == b"{}"
    with pytest.raises(CheckpointError, match=r"first: hf download owner/lora$"):
        locate_adapter("owner/lora")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("/no/such/folder", "there is no adapter folder /no/such/folder. Give a folder, or a hub"),
        ("zoo", "there is no adapter folder zoo"),
        ("", "there is no adapter folder"),
        (__file__, "is a file, not an adapter folder. Name the folder that holds adapter_config"),
    ],
)
def test_an_adapter_that_is_not_there_is_told(reference: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        locate_adapter(reference)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("owner/model", ("owner/model",)),
        ("owner/model@main", ("owner/model", "main")),
        ("owner/model@refs/pr/1", ("owner/model", "refs/pr/1")),
        ("owner/model+owner/lora", ("owner/model", None, "owner/lora", None)),
        ("owner/model@v1+owner/lora@v2", ("owner/model", "v1", "owner/lora", "v2")),
        ("owner/model+owner/lora@v2", ("owner/model", None, "owner/lora", "v2")),
        ("zoo:base+./lora", ("zoo:base", None, "./lora", None)),
    ],
)
def test_a_reference_is_split_and_joined(text: str, parts: tuple[str | None, ...]) -> None:
    reference = parse_reference(text)
    assert reference == Reference(*parts)  # type: ignore[arg-type]  # the first is a string
    assert str(reference) == text


def test_folders_whose_names_hold_the_signs_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a+b", "a@b", "x@1+y@2", "dir+1/model", "dir@1/lora+z"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_reference("a+b") == Reference("a+b")
    assert parse_reference("a@b") == Reference("a@b")
    assert parse_reference("x@1+y@2") == Reference("x@1+y@2")
    assert parse_reference("a+b+owner/lora") == Reference("a+b", None, "owner/lora")
    assert parse_reference("dir+1/model+dir@1/lora+z") == Reference(
        "dir+1/model", None, "dir@1/lora+z"
    )
    assert parse_reference("owner/m@v1+dir@1/lora+z") == Reference("owner/m", "v1", "dir@1/lora+z")
    assert parse_reference("owner/m+a@b") == Reference("owner/m", None, "a@b")
    assert parse_reference("a@b@main") == Reference("a@b", "main")


def test_a_folder_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_reference("own/model@main") == Reference("own/model", "main")
    for find in (locate, locate_adapter):
        with pytest.raises(CheckpointError, match=r"own/model is a folder here, .* 'main'. Leave"):
            find("own/model@main")


@pytest.mark.parametrize("text", ["", "+", "@", "model+", "+lora", "model@", "model@+lora", "m+l@"])
def test_half_a_reference_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"is not a model\. Write model, model@revision"):
        parse_reference(text)


def test_a_reference_without_end_is_refused_at_once() -> None:
    with pytest.raises(CheckpointError, match="is no model: it has 6000 characters"):
        parse_reference("+@" * 3000)
