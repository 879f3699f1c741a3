"""An open model folder: its bytes, its mapped tensors, its fingerprint; a file cut while open."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from evomerge.checkpoints.reader import INDEX, SINGLE, Checkpoint
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]


def make_folder(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    save_file(tensors or {"a": torch.zeros(3)}, folder / SINGLE)
    return folder


def write_index(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


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


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", a=torch.zeros(1000))
    checkpoint = Checkpoint(str(folder))
    checkpoint.read_into(checkpoint.entries["a"], 0, memoryview(bytearray(4)))
    checkpoint.check_unchanged()
    with (folder / SINGLE).open("r+b") as stream:
        stream.seek(-4, os.SEEK_END)
        stream.write(b"more")
    os.utime(folder / SINGLE, ns=(1, 1))  # clocks of files are coarse
    with pytest.raises(CheckpointError, match=r"safetensors has changed while it was read. Run"):
        checkpoint.check_unchanged()


def test_a_file_that_is_replaced_before_it_is_read_is_noticed_and_later_does_not_matter(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "model", a=torch.zeros(1000))
    before, after = Checkpoint(str(folder)), Checkpoint(str(folder))
    before.read_into(before.entries["a"], 0, memoryview(bytearray(4)))
    other = make_folder(tmp_path / "other", a=torch.ones(1000))
    os.replace(other / SINGLE, folder / SINGLE)
    before.check_unchanged()
    after.read_into(after.entries["a"], 0, memoryview(bytearray(4)))
    with pytest.raises(CheckpointError, match="has changed while it was read"):
        after.check_unchanged()


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


def test_threads_read_the_same_bytes_through_one_handle_a_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    values = {"a": torch.randn(50_000), "b": torch.randn(30_000)}
    write_index(folder, {"a": "one.safetensors", "b": "two.safetensors"})
    save_file({"a": values["a"]}, folder / "one.safetensors")
    save_file({"b": values["b"]}, folder / "two.safetensors")
    checkpoint = Checkpoint(str(folder))

    def read(name: str) -> bytes:
        buffer = bytearray(values[name].nbytes)
        for start in range(0, len(buffer), 4096):
            piece = memoryview(buffer)[start : start + 4096]
            checkpoint.read_into(checkpoint.entries[name], start, piece)
        return bytes(buffer)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, ["a", "b"] * 16))
    expected = [values[name].numpy().tobytes() for name in ("a", "b")] * 16
    assert found == expected
    assert len(checkpoint._handles) == 2


ALL_DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
def test_a_mapped_tensor_is_the_files_own_and_writing_leaves_the_file(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    checkpoint = Checkpoint(str(make_folder(tmp_path / "model", a=tensor)))
    before = (tmp_path / "model" / SINGLE).read_bytes()
    mapped = checkpoint.map_tensor(checkpoint.entries["a"])
    assert mapped.dtype == dtype
    assert torch.equal(mapped.view(torch.uint8), tensor.view(torch.uint8))
    mapped.view(torch.uint8).zero_()
    checkpoint.close()
    assert not mapped.view(torch.uint8).any(), "it outlives the checkpoint"
    assert (tmp_path / "model" / SINGLE).read_bytes() == before


def test_empty_scalar_and_crooked_tensors_are_mapped_too(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    places = {"byte": ("U8", [1], 0, 1), "crooked": ("F32", [2], 1, 9),
              "none": ("F32", [0, 3], 9, 9), "scalar": ("BF16", [], 9, 11)}  # fmt: skip
    header = json.dumps(
        {
            name: {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
            for name, (dtype, shape, start, end) in places.items()
        }
    ).encode()
    data = b"\7" + struct.pack("<2f", 1.5, -2.5) + b"\x80\x3f"
    (folder / SINGLE).write_bytes(struct.pack("<Q", len(header)) + header + data)
    checkpoint = Checkpoint(str(folder))
    found = {name: checkpoint.map_tensor(entry) for name, entry in checkpoint.entries.items()}
    assert found["crooked"].tolist() == [1.5, -2.5]
    assert found["none"].shape == (0, 3)
    assert (found["scalar"].shape, found["scalar"].item()) == ((), 1.0)


def test_a_file_shorter_than_it_was_is_not_mapped(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", a=torch.zeros(1000))
    checkpoint = Checkpoint(str(folder))
    os.truncate(folder / SINGLE, 100)
    with pytest.raises(CheckpointError, match="ends inside tensor a"):
        checkpoint.map_tensor(checkpoint.entries["a"])
    checkpoint.close()
    os.truncate(folder / SINGLE, 0)
    with pytest.raises(CheckpointError, match="it is empty"):
        checkpoint.map_tensor(checkpoint.entries["a"])


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
