"""PyTorch's own files: read where no safetensors are, never run."""

import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from evomerge.checkpoints.pickled import read_pickle
from evomerge.checkpoints.reader import SINGLE, Checkpoint
from evomerge.errors import CheckpointError

PICKLE = "pytorch_model.bin"


def make_folder(folder: Path, state: Any, name: str = PICKLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    torch.save(state, folder / name)
    return folder


def contents(checkpoint: Checkpoint, name: str) -> torch.Tensor:
    entry = checkpoint.entries[name]
    buffer = bytearray(entry.end - entry.start)
    checkpoint.read_into(entry, 0, memoryview(buffer))
    mapped = checkpoint.map_tensor(entry)
    assert mapped.reshape(-1).view(torch.uint8).numpy().tobytes() == buffer
    return mapped


def test_every_tensor_is_read_from_its_place_in_the_file(tmp_path: Path) -> None:
    grid = torch.randn(3, 4)
    state = {
        "grid": grid,
        "part": grid[1:],  # shares its storage
        "brain": torch.randn(5).bfloat16(),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "whole": torch.arange(4),
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
    }
    checkpoint = Checkpoint(str(make_folder(tmp_path / "model", state)))
    assert list(checkpoint.entries) == sorted(state)
    for name, tensor in state.items():
        found = contents(checkpoint, name)
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found, tensor)
    assert len(checkpoint.fingerprint) == 32


def test_a_sharded_checkpoint_is_found_through_its_index(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", {"a": torch.ones(2)}, "one.bin")
    make_folder(folder, {"b": torch.zeros(3)}, "two.bin")
    index = {"weight_map": {"a": "one.bin", "b": "two.bin"}}
    (folder / f"{PICKLE}.index.json").write_text(json.dumps(index))
    assert {n: e.file.name for n, e in Checkpoint(str(folder)).entries.items()} == index[
        "weight_map"
    ]
    index["weight_map"]["a"] = "../one.bin"
    (folder / f"{PICKLE}.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="its weight_map leaves the folder"):
        Checkpoint(str(folder))


def test_safetensors_are_taken_where_both_are(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", {"a": torch.ones(2)})
    save_file({"b": torch.ones(2)}, folder / SINGLE)
    assert list(Checkpoint(str(folder)).entries) == ["b"]


class Malice:
    """Unpickling this would make a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("hidden", [True, False], ids=["beside a tensor", "alone"])
def test_code_in_a_pickle_is_refused_in_one_line_and_not_run(tmp_path: Path, hidden: bool) -> None:
    malice = Malice(tmp_path / "owned")
    state = {"a": torch.ones(2), "b": malice} if hidden else malice
    folder = make_folder(tmp_path / "model", state)
    with pytest.raises(CheckpointError, match=r"is refused, .* other things.*mkdir") as caught:
        Checkpoint(str(folder))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", {})
    (folder / PICKLE).write_bytes(pickle.dumps(Malice(tmp_path / "owned")))
    with pytest.raises(CheckpointError, match=r"damaged, or was saved by a PyTorch before 1\.6"):
        Checkpoint(str(folder))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "holds no table of tensors"),
        (torch.ones(2), "holds no table of tensors"),
        ({"state_dict": {"a": torch.ones(2)}}, "holds state_dict, which is not a tensor"),
        ({"a": torch.ones(2, 3).t()}, "stores a other than row by row"),
        ({"a": torch.ones(2, 3).to_sparse()}, "stores a other than row by row"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "stores a other than row by row"),
    ],
)
def test_what_is_no_plain_table_of_tensors_is_refused(
    tmp_path: Path, state: Any, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(str(make_folder(tmp_path / "model", state)))


def test_files_from_before_pytorch_1_6_are_refused(tmp_path: Path) -> None:
    file = tmp_path / PICKLE
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"PyTorch before 1\.6.*save it as safetensors"):
        read_pickle(file)


def test_a_part_cut_short_is_not_filled_up_from_the_next(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", {"a": torch.ones(100), "b": torch.zeros(1000)})
    whole = (folder / PICKLE).read_bytes()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as parts,
        zipfile.ZipFile(folder / PICKLE, "w", zipfile.ZIP_STORED) as archive,
    ):
        for part in parts.infolist():
            content = parts.read(part)
            first = part.filename.endswith("data/0")
            archive.writestr(part.filename, content[:16] if first else content)
    with pytest.raises(CheckpointError, match=r"does not say where a is|tensor a lies beyond"):
        Checkpoint(str(folder))


def test_an_archive_that_another_tool_has_packed_is_not_read_at_the_wrong_places(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "model", {f"t{i}": torch.full((9,), i) for i in range(9)})
    whole = (folder / PICKLE).read_bytes()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as parts,
        zipfile.ZipFile(folder / PICKLE, "w", zipfile.ZIP_STORED) as archive,
    ):
        for part in parts.infolist():
            archive.writestr(part.filename, parts.read(part))
    with pytest.raises(CheckpointError, match=r"does not say where t\d is. Load it with transfor"):
        Checkpoint(str(folder))


def test_a_compressed_archive_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    file = tmp_path / PICKLE
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 10_000_000)
    assert file.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="parts of it are compressed"):
        read_pickle(file)


@settings(deadline=None, max_examples=40)
@given(cut=st.floats(0, 1), flip=st.booleans(), bit=st.integers(0, 7))
def test_a_damaged_file_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, cut: float, flip: bool, bit: int
) -> None:
    file = tmp_path_factory.mktemp("damage") / PICKLE
    torch.save({"a": torch.ones(20), "b": torch.zeros(2, 2).bfloat16()}, file)
    whole = bytearray(file.read_bytes())
    place = min(int(cut * len(whole)), len(whole) - 1)
    if flip:
        whole[place] ^= 1 << bit
    file.write_bytes(whole if flip else whole[:place])
    if not flip:
        with pytest.raises(CheckpointError):
            read_pickle(file)
        return
    with suppress(CheckpointError):
        entries = read_pickle(file)
        assert all(0 <= entry.start <= entry.end <= len(whole) for entry in entries)
