"""Tensors read from files, as they are stored."""

from collections.abc import Iterator

import torch
from torch import Tensor

from evomerge.checkpoints.reader import ITEM_BYTES, Checkpoint, Entry
from evomerge.errors import CheckpointError

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
PIECE = 1 << 24
"""Elements that are read at a time where a tensor need not be whole."""


def read_tensor(entry: Entry) -> Tensor:
    """Read a tensor, as it is stored.

    Raises:
        CheckpointError: the file ends too early, or is there no more.
    """
    data = bytearray(entry.end - entry.start)
    try:
        with entry.file.open("rb") as stream:
            stream.seek(entry.start)
            count = stream.readinto(data)
    except OSError as error:
        raise CheckpointError(
            f"{entry.file} cannot be read: {error.strerror}", "Check that it is in place"
        ) from None
    if count < len(data):
        raise CheckpointError(
            f"{entry.file} ends inside tensor {entry.name}", "Fetch the file again"
        )
    if not data:
        return torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    return torch.frombuffer(data, dtype=DTYPES[entry.dtype]).view(entry.shape)


def read_pieces(checkpoint: Checkpoint, entry: Entry) -> Iterator[tuple[int, Tensor]]:
    """Yield (first element, elements) of a model's tensor, 1-D."""
    width = ITEM_BYTES[entry.dtype]
    for start in range(0, entry.numel, PIECE):
        raw = bytearray(min(PIECE, entry.numel - start) * width)
        checkpoint.read_into(entry, start * width, memoryview(raw))
        yield start, torch.frombuffer(raw, dtype=DTYPES[entry.dtype])


def read_whole(checkpoint: Checkpoint, entry: Entry, dtype: torch.dtype = torch.float32) -> Tensor:
    """Read a model's tensor, in `dtype`."""
    tensor = torch.empty(entry.numel, dtype=dtype)
    for start, part in read_pieces(checkpoint, entry):
        tensor[start : start + len(part)] = part
    return tensor.view(entry.shape)


def check_finite(tensor: Tensor, name: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        CheckpointError: naming what holds them, and how many there are.
    """
    if not torch.isfinite(tensor).all():
        count = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(f"{name} has {count} elements that are no number", "Mend it first")
