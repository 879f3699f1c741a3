"""Where the tensors of a PyTorch checkpoint (`pytorch_model.bin`) are; no code in it is run.

torch reads the archive's table with `weights_only` and with tensors that have no memory, so that
only places are learnt; the data are then read with pread, like those of any other file
(https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from evomerge.checkpoints.header import (
    ITEM_BYTES,
    LONGEST_HEADER,
    TORCH_NAMES,
    Entry,
    damaged,
    unreadable,
)
from evomerge.errors import CheckpointError

CODES = {name: code for code, name in TORCH_NAMES.items()}
CONVERT = "Load it with transformers where you trust it, and save it as safetensors"


def read_pickle(file: Path) -> list[Entry]:
    """Return the place of every tensor in a PyTorch checkpoint.

    Raises:
        CheckpointError: the file is damaged, is older than PyTorch 1.6, holds other things than
            tensors, or would run code if it were loaded.
    """
    parts = _check_archive(file)
    state = _load(file)
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{file} holds no table of tensors", CONVERT)
    return [_read_entry(file, str(name), tensor, parts) for name, tensor in state.items()]


def _check_archive(file: Path) -> dict[int, int]:
    """Return where each part of the archive begins and ends; refuse what is no plain zip.

    Compressed parts would unfold, and have no place to read.
    """
    try:
        with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
            parts = archive.infolist()
            starts = [_find_data(stream, part.header_offset) for part in parts]
    except OSError as error:
        raise unreadable(file, error) from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise CheckpointError(
            f"{file} is damaged, or was saved by a PyTorch before 1.6", CONVERT
        ) from None
    tables = [part for part in parts if part.filename.endswith(".pkl")]
    if len(tables) != 1 or tables[0].file_size > LONGEST_HEADER:
        raise damaged(file, "it has no table of tensors of reasonable size")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise damaged(file, "parts of it are compressed, as PyTorch never writes them")
    return {start: start + part.file_size for start, part in zip(starts, parts, strict=True)}


def _find_data(stream: BinaryIO, header: int) -> int:
    """Return where the data of a zip's part begin: behind its header, name and padding."""
    stream.seek(header + 26)
    name, padding = struct.unpack("<HH", stream.read(4))
    return int(header + 30 + name + padding)


def _load(file: Path) -> Any:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with FakeTensorMode():
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds over what strangers pickle
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), str(error))
        told = " ".join(reason.split())[:200]
        raise CheckpointError(
            f"{file} is refused, it holds other things than tensors: {told}", CONVERT
        ) from None


def _read_entry(file: Path, name: str, tensor: Any, parts: dict[int, int]) -> Entry:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"{file} holds {name}, which is not a tensor", CONVERT)
    dtype = CODES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or tensor.layout != torch.strided or not tensor.is_contiguous():
        raise CheckpointError(f"{file} stores {name} other than row by row", CONVERT)
    width, shape = ITEM_BYTES[dtype], tuple(tensor.shape)
    place = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if place not in parts:  # torch reckons it, and errs where another tool has packed the file
        raise CheckpointError(f"{file} does not say where {name} is", CONVERT)
    start = place + tensor.storage_offset() * width
    end = start + tensor.numel() * width
    if not place <= start <= end <= parts[place]:
        raise damaged(file, f"tensor {name} lies beyond the end of its part")
    return Entry(name, file, dtype, shape, start, end)
