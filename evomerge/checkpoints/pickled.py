"""Where the tensors of a PyTorch checkpoint (`pytorch_model.bin`) are; no code in it is run.

torch reads the archive's table with `weights_only` and with tensors that have no memory, so that
only places are learnt; the data are then read with pread, like those of any other file
(https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

import zipfile
from pathlib import Path
from typing import Any

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
    _check_archive(file)
    state = _load(file)
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{file} holds no table of tensors", CONVERT)
    return [_read_entry(file, str(name), tensor) for name, tensor in state.items()]


def _check_archive(file: Path) -> None:
    """Refuse what is no plain zip: compressed parts would unfold, and have no place to read."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except OSError as error:
        raise unreadable(file, error) from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise CheckpointError(
            f"{file} is damaged, or was saved by a PyTorch before 1.6", CONVERT
        ) from None
    tables = [part for part in parts if part.filename.endswith(".pkl")]
    if len(tables) != 1 or tables[0].file_size > LONGEST_HEADER:
        raise damaged(file, "it has no table of tensors of reasonable size")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise damaged(file, "parts of it are compressed, as PyTorch never writes them")


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


def _read_entry(file: Path, name: str, tensor: Any) -> Entry:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"{file} holds {name}, which is not a tensor", CONVERT)
    dtype = CODES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or tensor.layout != torch.strided or not tensor.is_contiguous():
        raise CheckpointError(f"{file} stores {name} other than row by row", CONVERT)
    width, shape = ITEM_BYTES[dtype], tuple(tensor.shape)
    place = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if place is None:
        raise CheckpointError(f"{file} does not say where {name} is", CONVERT)
    start = place + tensor.storage_offset() * width
    end = start + tensor.numel() * width
    if not 0 <= start <= end <= file.stat().st_size:
        raise damaged(file, f"tensor {name} lies beyond its end")
    return Entry(name, file, dtype, shape, start, end)
