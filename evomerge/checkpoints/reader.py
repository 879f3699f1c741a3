"""A model folder, opened: its config, and every tensor's place in its safetensors files.

Headers are checked against file sizes before anything is read, and data are read with pread into
memory that is reused: a file cut short while it is read is an error, not a dead process.
"""

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import index
from pathlib import Path
from typing import Any

from evomerge.checkpoints.locate import locate
from evomerge.errors import CheckpointError

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "U16": 2, "U32": 4, "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATING = ("F64", "F32", "F16", "BF16")
LONGEST_HEADER = 100_000_000
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PROVENANCE = ("_name_or_path", "transformers_version")
"""Keys of config.json that say where a model comes from, not what it is."""
SAMPLE = 256
"""Bytes of each tensor's beginning, middle and end that go into a folder's fingerprint."""


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


class Checkpoint:
    """An open model folder.

    Args:
        reference: what `locate` understands.

    Attributes:
        reference: as given.
        folder: where it is.
        config: config.json.
        entries: tensor name -> Entry, sorted by name.

    Raises:
        CheckpointError: a file is missing, cut short, or says what cannot be.
    """

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.folder = locate(reference)
        self.config: dict[str, Any] = read_json(self.folder / "config.json", reference)
        self.entries = {entry.name: entry for entry in _read_entries(self.folder)}
        self._handles: dict[Path, int] = {}

    def read_into(self, entry: Entry, first: int, buffer: memoryview) -> None:
        """Fill `buffer` with the entry's bytes from byte offset `first` on.

        Raises:
            CheckpointError: the file ends too early, or is there no more.
        """
        done = 0
        while done < len(buffer):
            try:
                place = entry.start + first + done
                count = os.preadv(self._handle(entry.file), [buffer[done:]], place)
            except OSError as error:
                raise _unreadable(entry.file, error) from None
            if count <= 0:
                raise CheckpointError(
                    f"{entry.file} ends inside tensor {entry.name}", "Fetch the file again"
                )
            done += count

    def close(self) -> None:
        """Close all files."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the contents: configuration, headers, a sample of every tensor's bytes.

        A copy elsewhere has the same 32 hexadecimal digits; any training step changes them.
        """
        config = {key: value for key, value in self.config.items() if key not in PROVENANCE}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for entry in self.entries.values():
            size = entry.end - entry.start
            digest.update(repr((entry.name, entry.dtype, entry.shape)).encode())
            for place in {0, max(0, size // 2 - SAMPLE), max(0, size - SAMPLE)}:
                sample = bytearray(min(SAMPLE, size - place))
                self.read_into(entry, place, memoryview(sample))
                digest.update(place.to_bytes(8, "little") + sample)
        return digest.hexdigest()[:32]

    def stamp(self) -> dict[str, list[int]]:
        """Return size and time of change (ns) of every weight file, to notice later edits."""
        files = sorted({entry.file for entry in self.entries.values()})
        return {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files}

    def _handle(self, file: Path) -> int:
        if file not in self._handles:
            self._handles[file] = os.open(file, os.O_RDONLY)
        return self._handles[file]

    def __del__(self) -> None:
        if getattr(self, "_handles", None):
            self.close()


def read_header(file: Path) -> list[Entry]:
    """Read and check a safetensors header.

    Raises:
        CheckpointError: naming the file, the tensor, and the bytes expected and found.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            prefix = stream.read(8)
            if len(prefix) < 8:
                raise _damaged(file, f"it is only {size} bytes long")
            length = struct.unpack("<Q", prefix)[0]
            if not 0 < length <= min(LONGEST_HEADER, size - 8):
                raise _damaged(file, f"its header cannot be {length} bytes long")
            header = json.loads(stream.read(length), object_pairs_hook=_refuse_duplicates)
    except OSError as error:
        raise _unreadable(file, error) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not a table of tensors")
    header.pop("__metadata__", None)
    entries = [_read_entry(file, 8 + length, name, raw) for name, raw in header.items()]
    _check_extents(file, entries, 8 + length, size)
    return entries


def _read_entry(file: Path, data: int, name: str, raw: Any) -> Entry:
    try:
        dtype, shape = str(raw["dtype"]), tuple(index(n) for n in raw["shape"])
        start, end = (index(offset) for offset in raw["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise _damaged(file, f"tensor {name} has no dtype, shape and data_offsets") from None
    if dtype not in ITEM_BYTES:
        raise _damaged(file, f"tensor {name} has the unknown dtype {dtype}")
    if min(shape, default=0) < 0 or end - start != prod(shape) * ITEM_BYTES[dtype]:
        raise _damaged(
            file, f"tensor {name} of shape {list(shape)} and dtype {dtype} has {end - start} bytes"
        )
    return Entry(name, file, dtype, shape, data + start, data + end)


def _check_extents(file: Path, entries: list[Entry], start: int, size: int) -> None:
    for entry in sorted(entries, key=lambda e: (e.start, e.end)):
        if entry.start != start:
            raise _damaged(file, f"tensor {entry.name} overlaps another or leaves a hole")
        if entry.end > size:
            raise CheckpointError(
                f"{file} is cut short: tensor {entry.name} ends at byte {entry.end}, "
                f"the file has {size}",
                "Fetch the file again",
            )
        start = entry.end
    if start != size:
        raise _damaged(file, f"it has {size - start} bytes that belong to no tensor")


def _read_entries(folder: Path) -> list[Entry]:
    """Return every tensor's entry, sorted by name; where shards overlap, the index decides."""
    table_file = folder / INDEX
    if not table_file.exists():
        return sorted(read_header(_single_file(folder)), key=lambda e: e.name)
    table = _read_weight_map(folder, table_file)
    found: dict[str, Entry] = {}
    for file in dict.fromkeys(table.values()):
        for entry in read_header(folder / file):
            if table.get(entry.name, file) == file:
                found[entry.name] = entry
    for name, file in table.items():
        if name not in found:
            raise _damaged(folder / file, f"it lacks tensor {name}, which {INDEX} says it holds")
    return [found[name] for name in sorted(found)]


def _single_file(folder: Path) -> Path:
    if (folder / SINGLE).exists():
        return folder / SINGLE
    pickles = [path.name for path in folder.glob("*.bin")]
    raise CheckpointError(
        f"{folder} holds no {SINGLE} and no {INDEX}"
        + (f", only the pickle {pickles[0]}" if pickles else ""),
        "Convert it to safetensors" if pickles else "Is this a complete model folder?",
    )


def _read_weight_map(folder: Path, file: Path) -> dict[str, str]:
    table = read_json(file, str(folder)).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise _damaged(file, "it has no weight_map")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
            raise _damaged(file, f"its weight_map leaves the folder: {name!r}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(names)} weight files: {', '.join(missing)}",
            "Fetch the model again",
        )
    return {tensor: str(name) for tensor, name in table.items()}


def read_json(file: Path, reference: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file of the model called `reference` is missing or damaged.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{reference} has no {file.name}", f"Is {file.parent} a complete model folder?"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    if not isinstance(value, dict):
        raise _damaged(file, "it is not a JSON object")
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table


def _unreadable(file: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{file} cannot be read: {error.strerror}", "Check that it is in place")


def _damaged(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} is damaged: {reason}", "Fetch the file again")
