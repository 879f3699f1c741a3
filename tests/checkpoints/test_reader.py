"""Model folders as they arrive: complete, damaged in every way, or cut short while open."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from evomerge.checkpoints.reader import INDEX, SINGLE, Checkpoint, read_header
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]


def describe(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def write_raw(file: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def make_folder(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    save_file(tensors or {"a": torch.zeros(3)}, folder / SINGLE)
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


FOUR_FLOATS = describe("F32", [2, 2], 0, 16)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (
            {"a": describe("F32", [2, 3], 0, 16)},
            bytes(16),
            r"a of shape \[2, 3\] and dtype F32 has 16",
        ),
        ({"a": describe("F12", [2, 2], 0, 16)}, bytes(16), "tensor a has the unknown dtype F12"),
        ({"a": FOUR_FLOATS}, bytes(15), "is cut short: tensor a ends at byte .* the file has"),
        ({"a": FOUR_FLOATS}, bytes(20), "it has 4 bytes that belong to no tensor"),
        ({}, bytes(7), "it has 7 bytes that belong to no tensor"),
        (
            {"a": FOUR_FLOATS, "b": describe("F32", [2], 12, 20)},
            bytes(20),
            "tensor b overlaps another or leaves a hole",
        ),
        (
            {"a": FOUR_FLOATS, "b": describe("F32", [2], 20, 28)},
            bytes(28),
            "tensor b overlaps another or leaves a hole",
        ),
        ({"a": describe("F32", [4], 4, 20)}, bytes(20), "tensor a overlaps another or leaves a ho"),
        ({"a": describe("F32", [4], -16, 0)}, b"", "tensor a overlaps another or leaves a hole"),
        ({"a": describe("F32", [-2, -2], 0, 16)}, bytes(16), r"tensor a of shape \[-2, -2\]"),
        ({"a": {"dtype": "F32", "shape": [4]}}, bytes(16), "a has no dtype, shape and data_offse"),
        ({"a": [1, 2]}, bytes(16), "tensor a has no dtype, shape and data_offsets"),
        ({"a": None}, bytes(16), "tensor a has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": 4}}, bytes(16), "a has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": "22"}}, bytes(16), "has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": [4.0]}}, bytes(16), "has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "data_offsets": [0]}}, bytes(16), "no dtype, shape and data_offse"),
        ([1, 2], b"", "its header is not a table of tensors"),
        (b'{"a": ', b"", "its header is not valid JSON"),
        (b"\xff\xfe\xfd", b"", "its header is not valid JSON"),
        (b"[" * 100_000, b"", "its header is not valid JSON"),
        (
            b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}',
            bytes(4),
            "has no dty",
        ),
        (
            b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},'
            b' "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
            bytes(1),
            r"its header is not valid JSON \(a name stands twice\)",
        ),
    ],
)
def test_a_damaged_header_is_described_in_one_line(
    tmp_path: Path, header: Any, data: bytes, message: str
) -> None:
    file = write_raw(tmp_path / SINGLE, header, data)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "Fetch the file again"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "it is only 0 bytes long"),
        (b"1234567", "it is only 7 bytes long"),
        (struct.pack("<Q", 0) + b"{}", "its header cannot be 0 bytes long"),
        (struct.pack("<Q", 3) + b"{}", "its header cannot be 3 bytes long"),
        (struct.pack("<Q", 2**63) + b"{}", "its header cannot be 9223372036854775808 bytes long"),
        (b"<!DOCTYPE html><html>not found</html>", "its header cannot be [0-9]+ bytes long"),
    ],
)
def test_a_file_without_room_for_its_header_is_damaged(
    tmp_path: Path, contents: bytes, message: str
) -> None:
    file = tmp_path / SINGLE
    file.write_bytes(contents)
    with pytest.raises(CheckpointError, match=message):
        read_header(file)


def test_a_header_of_more_than_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / SINGLE
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 100_000_001))
        stream.truncate(200_000_000)  # a sparse file: nothing is written
    with pytest.raises(CheckpointError, match="its header cannot be 100000001 bytes long"):
        read_header(file)


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(min_value=0, max_value=10_000), flip=st.booleans(), bit=st.integers(0, 7))
def test_a_cut_file_is_always_refused_and_a_flipped_header_bit_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool, bit: int
) -> None:
    file = tmp_path_factory.mktemp("damage") / SINGLE
    save_file({"a": torch.zeros(3), "b": torch.zeros(2, 2, dtype=torch.bfloat16)}, file)
    whole = file.read_bytes()
    place = cut % len(whole)
    if not flip:
        file.write_bytes(whole[:place])
        with pytest.raises(CheckpointError, match=r"is (damaged|cut short)"):
            read_header(file)
        return
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    damaged = bytearray(whole)
    damaged[place % header] ^= 1 << bit
    file.write_bytes(damaged)
    with suppress(CheckpointError):  # a flipped bit in a name is a legal header
        read_header(file)


def test_what_safetensors_wrote_is_read_to_the_byte(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(3, 5).half(),
        "brain": torch.randn(7).bfloat16(),
        "none": torch.zeros(0, 4),
        "scalar": torch.tensor(3.5),
        "whole": torch.arange(4),
    }
    checkpoint = Checkpoint(str(make_folder(tmp_path / "model", **tensors)))
    assert list(checkpoint.entries) == sorted(tensors)
    for name, tensor in tensors.items():
        entry = checkpoint.entries[name]
        buffer = bytearray(entry.end - entry.start)
        checkpoint.read_into(entry, 0, memoryview(buffer))
        assert entry.shape == tuple(tensor.shape)
        assert entry.numel == tensor.numel()
        assert buffer == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_a_file_cut_short_while_it_is_open_is_a_clear_error(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", a=torch.zeros(1000))
    checkpoint = Checkpoint(str(folder))
    os.truncate(folder / SINGLE, (folder / SINGLE).stat().st_size - 8)
    entry = checkpoint.entries["a"]
    with pytest.raises(CheckpointError, match=r"ends inside tensor a.*Fetch the file again"):
        checkpoint.read_into(entry, 0, memoryview(bytearray(4000)))


def test_a_file_removed_after_opening_is_a_clear_error(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    checkpoint = Checkpoint(str(folder))
    (folder / SINGLE).unlink()
    with pytest.raises(CheckpointError, match=r"safetensors cannot be read: No such file"):
        checkpoint.read_into(checkpoint.entries["a"], 0, memoryview(bytearray(4)))


def test_closing_lets_go_of_every_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(make_folder(tmp_path / "model")))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert checkpoint.fingerprint
    checkpoint.close()
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before


# ------------------------------------------------------------------------- folders and indexes


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
    "name", ["../one.safetensors", "/etc/passwd", "sub/x", "..", ".", "", "a\0b"]
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


def test_pickles_are_never_opened_and_the_user_is_told_to_convert(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / SINGLE).rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only the pickle pytorch_model\.bin\. Convert it"):
        Checkpoint(str(folder))


def test_a_folder_without_weights_or_without_config_says_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / SINGLE).unlink()
    with pytest.raises(
        CheckpointError, match=r"holds no model.safetensors and no .*complete model"
    ):
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
    real = make_sharded(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(real.iterdir())):
        blob = file.rename(real / f"{number:040x}")
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    checkpoint = Checkpoint(str(snapshot))
    assert list(checkpoint.entries) == ["a", "b"]
    assert len(checkpoint.fingerprint) == 32


# --------------------------------------------------------------------------------- fingerprint


def test_a_copy_has_the_same_fingerprint_and_another_sharding_too(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    model = tiny_llama(0)
    copy = copy_of(model, tmp_path / "elsewhere")
    assert Checkpoint(str(copy)).fingerprint == Checkpoint(str(model)).fingerprint
    sharded = copy_of(model, tmp_path / "sharded")
    tensors = load_file(sharded / SINGLE)
    (sharded / SINGLE).unlink()
    weight_map = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        save_file({name: tensor}, sharded / f"{number}.safetensors")
        weight_map[name] = f"{number}.safetensors"
    write_index(sharded, weight_map)
    assert Checkpoint(str(sharded)).fingerprint == Checkpoint(str(model)).fingerprint


def test_one_training_step_changes_the_fingerprint(tiny_llama: MakeModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = tiny_llama(0, dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(source)
    step = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = torch.tensor([[1, 5, 9, 2]])
    model(input_ids=tokens, labels=tokens).loss.backward()
    step.step()
    model.save_pretrained(tmp_path / "trained")
    before, after = Checkpoint(str(source)), Checkpoint(str(tmp_path / "trained"))
    assert list(before.entries) == list(after.entries)
    assert before.fingerprint != after.fingerprint


@settings(deadline=None, max_examples=25)
@given(
    place=st.sampled_from([0, 1, 127, 128, -1, -128, "middle"]), name=st.sampled_from(["a", "b"])
)
def test_a_change_at_a_tensors_beginning_middle_or_end_changes_the_fingerprint(
    tmp_path_factory: pytest.TempPathFactory, place: int | str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("print")
    tensors = {"a": torch.zeros(5000, dtype=torch.uint8), "b": torch.zeros(600, dtype=torch.uint8)}
    before = Checkpoint(str(make_folder(folder, **tensors))).fingerprint
    tensors[name][len(tensors[name]) // 2 - 1 if place == "middle" else int(place)] = 1
    assert Checkpoint(str(make_folder(folder, **tensors))).fingerprint != before


def test_a_renamed_or_reshaped_tensor_changes_the_fingerprint(tmp_path: Path) -> None:
    prints = {
        Checkpoint(str(make_folder(tmp_path / str(i), **tensors))).fingerprint
        for i, tensors in enumerate(
            [
                {"a": torch.zeros(4)},
                {"b": torch.zeros(4)},
                {"a": torch.zeros(2, 2)},
                {"a": torch.zeros(4, dtype=torch.int32)},
                {"a": torch.zeros(4), "b": torch.zeros(0)},
            ]
        )
    }
    assert len(prints) == 5


def test_the_stamp_notices_a_later_edit(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    stamp = Checkpoint(str(folder)).stamp()
    assert Checkpoint(str(folder)).stamp() == stamp
    os.utime(folder / SINGLE, ns=(1, 1))
    assert Checkpoint(str(folder)).stamp() != stamp
