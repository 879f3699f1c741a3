"""A model folder, opened: its config, and every tensor's place in its files.

Headers are checked against file sizes before anything is read, and data are read with pread into
memory that is reused: a file cut short while it is read is an error, not a dead process.
"""

import hashlib
import json
import os
from functools import cached_property
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from evomerge.checkpoints.folder import INDEX, SINGLE, check_place, read_entries, read_json
from evomerge.checkpoints.header import (
    FLOATING,
    ITEM_BYTES,
    TORCH_NAMES,
    Entry,
    damaged,
    read_header,
    unreadable,
)
from evomerge.checkpoints.locate import locate
from evomerge.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FLOATING",
    "INDEX",
    "ITEM_BYTES",
    "SINGLE",
    "Checkpoint",
    "Entry",
    "check_place",
    "read_header",
    "read_json",
]
PROVENANCE = ("_name_or_path", "transformers_version")
"""Keys of config.json that say where a model comes from, not what it is."""
SAMPLE = 256
"""Bytes of each tensor's beginning, middle and end that go into a folder's fingerprint."""


class Checkpoint:
    """An open model folder; threads may read from it at once.

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
        self.entries = {entry.name: entry for entry in read_entries(self.folder)}
        self._states = {file: _state(file.stat()) for file in self._files}
        self._handles: dict[Path, int] = {}
        self._maps: dict[Path, mmap] = {}
        self._lock = Lock()

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
                raise unreadable(entry.file, error) from None
            if count <= 0:
                raise CheckpointError(
                    f"{entry.file} ends inside tensor {entry.name}", "Fetch the file again"
                )
            done += count

    def map_tensor(self, entry: Entry) -> "Tensor":
        """Return a tensor on the file's own pages, without copying: for models kept in memory.

        Writing into it changes private memory, never the file. A file that is cut short while
        it is mapped kills the process, so merges into folders read with `read_into`.

        Raises:
            CheckpointError: the file cannot be mapped, or is shorter than it was.
        """
        import torch

        dtype = getattr(torch, TORCH_NAMES[entry.dtype])
        if not entry.numel:
            return torch.empty(entry.shape, dtype=dtype)
        pages = self._map(entry.file)
        if len(pages) < entry.end:
            raise CheckpointError(
                f"{entry.file} ends inside tensor {entry.name}", "Fetch the file again"
            )
        if entry.start % dtype.itemsize:  # torch wants elements at multiples of their size
            raw = bytearray(pages[entry.start : entry.end])
            return torch.frombuffer(raw, dtype=dtype).view(entry.shape)
        flat = torch.frombuffer(pages, dtype=dtype, count=entry.numel, offset=entry.start)
        return flat.view(entry.shape)

    def close(self) -> None:
        """Close all files; mapped tensors keep their pages."""
        with self._lock:
            for handle in self._handles.values():
                os.close(handle)
            self._handles.clear()
            self._maps.clear()

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
        return {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in self._files}

    def check_unchanged(self) -> None:
        """Check that what has been read is what was there when the folder was opened.

        Raises:
            CheckpointError: a file has been written to, or replaced before it was first read.
        """
        for file, handle in self._handles.items():
            if _state(os.fstat(handle)) != self._states.get(file, _state(os.fstat(handle))):
                raise CheckpointError(
                    f"{file} has changed while it was read", "Run again when it is complete"
                )

    @property
    def _files(self) -> list[Path]:
        return sorted({entry.file for entry in self.entries.values()})

    def _handle(self, file: Path) -> int:
        handle = self._handles.get(file)
        if handle is None:
            with self._lock:
                if file not in self._handles:
                    self._handles[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                handle = self._handles[file]
        return handle

    def _map(self, file: Path) -> mmap:
        with self._lock:
            if file not in self._maps:
                try:
                    with file.open("rb") as stream:
                        self._maps[file] = mmap(stream.fileno(), 0, access=ACCESS_COPY)
                except OSError as error:
                    raise unreadable(file, error) from None
                except ValueError:
                    raise damaged(file, "it is empty") from None
            return self._maps[file]

    def __del__(self) -> None:
        if getattr(self, "_handles", None):
            self.close()


def _state(found: os.stat_result) -> tuple[int, int, int]:
    """Return what differs once a file is written to, or another has taken its place."""
    return found.st_size, found.st_mtime_ns, found.st_ino
