"""Which files are a model's: whatever an index or a link says, none outside its folder."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from evomerge.checkpoints.reader import INDEX, SINGLE, Checkpoint
from evomerge.errors import CheckpointError


def make_folder(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    save_file(tensors or {"a": torch.zeros(3)}, folder / SINGLE)
    return folder


def make_sharded(folder: Path) -> Path:
    make_folder(folder)
    (folder / SINGLE).unlink()
    save_file({"a": torch.zeros(3)}, folder / "one.safetensors")
    save_file({"b": torch.ones(2)}, folder / "two.safetensors")
    write_index(folder, {"a": "one.safetensors", "b": "two.safetensors"})
    return folder


def write_index(folder: Path, weight_map: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_found_through_the_index(tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(make_sharded(tmp_path / "model")))
    assert {n: e.file.name for n, e in checkpoint.entries.items()} == {
        "a": "one.safetensors",
        "b": "two.safetensors",
    }


@pytest.mark.parametrize(
    "name",
    ["../one.safetensors", "/etc/passwd", "sub/x", "..", ".", "", "a\0b", "\ud800", "a" * 256],
)
def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = make_sharded(tmp_path / "model")
    shutil.copy(folder / "one.safetensors", tmp_path / "one.safetensors")
    write_index(folder, {"a": name})
    with pytest.raises(CheckpointError, match="its weight_map leaves the folder"):
        Checkpoint(str(folder))


@pytest.mark.parametrize("table", [None, {}, [], "one.safetensors", 3])
def test_an_index_without_a_table_is_damaged(tmp_path: Path, table: Any) -> None:
    folder = make_sharded(tmp_path / "model")
    write_index(folder, table)
    with pytest.raises(CheckpointError, match="is damaged: it has no weight_map"):
        Checkpoint(str(folder))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff", "[" * 100_000])
def test_an_index_that_is_no_table_is_damaged(tmp_path: Path, text: str) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / INDEX).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: .*Fetch the file again"):
        Checkpoint(str(folder))


@pytest.mark.parametrize("text", ["", "not json", "[1]", "[" * 100_000])
def test_a_config_that_is_no_table_is_damaged(tmp_path: Path, text: str) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: "):
        Checkpoint(str(folder))


def test_missing_shards_are_counted_and_named(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of 2 weight files: two.safetensors"):
        Checkpoint(str(folder))


def test_a_shard_that_lacks_what_the_index_promises_is_named(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    write_index(folder, {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"})
    with pytest.raises(CheckpointError, match=r"two\.safetensors is damaged: it lacks tensor c"):
        Checkpoint(str(folder))


def test_a_tensor_in_two_shards_is_taken_from_where_the_index_says(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    save_file({"a": torch.ones(3), "b": torch.ones(2)}, folder / "two.safetensors")
    assert Checkpoint(str(folder)).entries["a"].file.name == "one.safetensors"


def test_a_folder_without_weights_or_without_config_says_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / SINGLE).unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors, no .*complete model"):
        Checkpoint(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json.*complete model folder"):
        Checkpoint(str(folder))


def test_a_folder_where_a_weight_file_should_be_is_a_clear_error(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / SINGLE).unlink()
    (folder / SINGLE).mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read: Is a directory"):
        Checkpoint(str(folder))


def test_symlinked_files_work_as_the_hub_cache_has_them(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--owner--name"
    real = make_sharded(cache / "blobs")
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(real.iterdir())):
        blob = file.rename(real / f"{number:040x}")
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    checkpoint = Checkpoint(str(snapshot))
    assert list(checkpoint.entries) == ["a", "b"]
    assert len(checkpoint.fingerprint) == 32
    (tmp_path / "link").symlink_to(snapshot)
    assert list(Checkpoint(str(tmp_path / "link")).entries) == ["a", "b"]


@pytest.mark.parametrize("sharded", [True, False])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, sharded: bool) -> None:
    folder = (make_sharded if sharded else make_folder)(tmp_path / "models--a" / "model")
    file = folder / ("two.safetensors" if sharded else SINGLE)
    outside = file.rename(tmp_path / "secret.safetensors")
    file.symlink_to(outside)
    with pytest.raises(CheckpointError, match=r"is a link out of its folder, to .*secret"):
        Checkpoint(str(folder))
    file.unlink()
    inside = outside.rename(folder / "elsewhere.safetensors")
    file.symlink_to(inside)
    assert Checkpoint(str(folder)).entries


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to(folder / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"(leads nowhere|lacks 1 of 2 weight files)"):
        Checkpoint(str(folder))


def test_a_pipe_in_place_of_a_weight_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / SINGLE).unlink()
    os.mkfifo(folder / SINGLE)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: it is no file"):
        Checkpoint(str(folder))


@pytest.mark.parametrize("name", ["config.json", INDEX])
def test_a_pipe_or_a_link_in_place_of_a_json_file_is_not_read(tmp_path: Path, name: str) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=r"json is damaged: it is no file"):
        Checkpoint(str(folder))
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=r"is a link out of its folder, to /dev/zero"):
        Checkpoint(str(folder))


def test_a_tensor_in_two_shards_that_the_index_does_not_name_is_refused(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    for file, own in (("one", "a"), ("two", "b")):
        tensors = {own: torch.zeros(2), "extra": torch.ones(2)}
        save_file(tensors, folder / f"{file}.safetensors")
    with pytest.raises(CheckpointError, match="extra is in another file too"):
        Checkpoint(str(folder))


def test_an_index_that_names_a_tensor_twice_is_refused(tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    twice = '{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}'
    (folder / INDEX).write_text(twice)
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: a name stands twice"):
        Checkpoint(str(folder))


def test_a_config_of_more_than_100_mb_is_not_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    os.truncate(folder / "config.json", 100_000_001)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: it has 100000001 bytes"):
        Checkpoint(str(folder))
