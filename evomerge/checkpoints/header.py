"""Where the tensors of a safetensors file are, read off its header and held against its size.

A header is a stranger's text: its length, its number of values and every number in it are bounded
before anything is made of them (format: https://huggingface.co/docs/safetensors).
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "U16": 2, "U32": 4, "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32",
    "U64": "uint64", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
"""Code of a dtype to torch's name for it."""
FLOATING = ("F64", "F32", "F16", "BF16")
LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
MOST_VALUES = 4_000_000
"""Names, numbers and lists of a header: eight a tensor, so half a million tensors."""
MOST_DIMENSIONS = 64
LARGEST = 2**63 - 1
LONGEST_NAME = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor on disk: [start, end) are byte offsets in its file."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_header(file: Path) -> list[Entry]:
    """Read and check a safetensors header.

    Raises:
        CheckpointError: naming the file, the tensor, and the bytes expected and found.
    """
    try:
        size = file.stat().st_size
        text = _read_text(file, size)
        header = json.loads(text, object_pairs_hook=unique_keys)
    except OSError as error:
        raise unreadable(file, error) from None
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise damaged(file, "its header is not a table of tensors")
    header.pop("__metadata__", None)
    start = 8 + len(text)
    entries = [_read_entry(file, start, name, raw) for name, raw in header.items()]
    _check_extents(file, entries, start, size)
    return entries


def _read_text(file: Path, size: int) -> bytes:
    with file.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise damaged(file, f"it is only {size} bytes long")
        length = struct.unpack("<Q", prefix)[0]
        if not 0 < length <= min(LONGEST_HEADER, size - 8):
            raise damaged(file, f"its header cannot be {length} bytes long")
        text = stream.read(length)
    if len(text) < length:
        raise damaged(file, "it ends inside its header")
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise damaged(file, f"its header has more than {MOST_VALUES} values")
    return text


def _read_entry(file: Path, data: int, name: str, raw: Any) -> Entry:
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise damaged(file, f"a tensor's name is {name[:40]!r}, of {len(name)} characters")
    try:
        dtype, shape = raw["dtype"], _read_integers(raw["shape"])
        start, end = _read_integers(raw["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise damaged(file, f"tensor {name} has no dtype, shape and data_offsets") from None
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise damaged(file, f"tensor {name} has the unknown dtype {str(dtype)[:20]}")
    if min(shape, default=0) < 0 or end - start != prod(shape) * ITEM_BYTES[dtype]:
        told = f"tensor {name} of shape {list(shape)} and dtype {dtype} has {end - start} bytes"
        raise damaged(file, told)
    return Entry(name, file, dtype, shape, data + start, data + end)


def _read_integers(values: Any) -> tuple[int, ...]:
    """Return a list of whole numbers, none of them a float, a bool, or beyond 64 bits."""
    if not isinstance(values, list) or len(values) > MOST_DIMENSIONS:
        raise TypeError
    if any(type(value) is not int or abs(value) > LARGEST for value in values):
        raise TypeError
    return tuple(values)


def _check_extents(file: Path, entries: Iterable[Entry], start: int, size: int) -> None:
    for entry in sorted(entries, key=lambda e: (e.start, e.end)):
        if entry.start != start:
            raise damaged(file, f"tensor {entry.name} overlaps another or leaves a hole")
        if entry.end > size:
            raise CheckpointError(
                f"{file} is cut short: tensor {entry.name} ends at byte {entry.end}, "
                f"the file has {size}",
                "Fetch the file again",
            )
        start = entry.end
    if start != size:
        raise damaged(file, f"it has {size - start} bytes that belong to no tensor")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict (an `object_pairs_hook`).

    Raises:
        ValueError: a key stands twice.
    """
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table


def unreadable(file: Path, error: OSError) -> CheckpointError:
    """Return the error of a file that the system will not give."""
    return CheckpointError(f"{file} cannot be read: {error.strerror}", "Check that it is in place")


def damaged(file: Path, reason: str) -> CheckpointError:
    """Return the error of a file whose contents cannot be right."""
    return CheckpointError(f"{file} is damaged: {reason}", "Fetch the file again")
