"""Write a model folder that is either absent or complete, readable under the user's umask.

Sizes are known from the plan: every shard's header is written first, tensors follow in place,
everything is fsynced, and one rename makes the folder appear.
"""

import errno
import glob
import json
import os
import shutil
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from evomerge.checkpoints.header import unreadable
from evomerge.checkpoints.reader import INDEX, ITEM_BYTES, SINGLE, check_place
from evomerge.errors import OutputError

HEADER_ALIGNMENT = 8
RESERVE = 1 << 20
"""Bytes for config, tokenizer and card that the free-space check adds."""

SYNC_BYTES = 256_000_000
"""So much is written before the disk is asked, in the background, to take it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A tensor to be written: name, safetensors dtype, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of its data."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


def partition(tensors: Sequence[Shape], shard_bytes: int) -> list[list[Shape]]:
    """Split tensors, in order, into shards of at most `shard_bytes` (or one tensor)."""
    shards: list[list[Shape]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.bytes
    return shards


@contextmanager
def atomic_folder(
    target: Path, *, expected_bytes: int = 0, replace: bool = False
) -> Iterator[Path]:
    """Give a temporary folder beside `target`; on success it becomes `target`, else it goes.

    Args:
        target: where the result shall be.
        expected_bytes: size of the result, checked against the free space beforehand.
        replace: whether an existing target is replaced.

    Raises:
        OutputError: the place cannot be written, is taken, or has too little space.
    """
    check_target(target, expected_bytes=expected_bytes, replace=replace)
    target = _absolute(target)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        with _output_errors(target):
            _sweep(target)
            partial.mkdir(parents=True)
            yield partial
            _sync_folder(partial)
            _replace_folder(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # somebody else's files are in it by now
            for parent in missing:
                parent.rmdir()
        raise


def check_target(target: Path, *, expected_bytes: int = 0, replace: bool = False) -> None:
    """Check, leaving nothing behind, that a result can be written at `target`.

    Raises:
        OutputError: saying why not.
    """
    with _output_errors(target):
        target = _absolute(target)
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if taken and not replace:
        raise OutputError(
            f"{target} exists already", "Choose another place, or pass --force to replace it"
        )
    if target.is_mount():
        raise OutputError(
            f"{target} is a mount point, no folder can take its place", "Choose a folder in it"
        )
    with _output_errors(target):
        home = next(parent for parent in target.parents if parent.exists())
        if not home.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{home} is not a folder")
        probe = home / f".{target.name}.probe"
        probe.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process has made the same check
            probe.rmdir()
        free = shutil.disk_usage(home).free
    if expected_bytes and expected_bytes + RESERVE > free:
        raise OutputError(
            f"{target} needs {show_bytes(expected_bytes)}, only {show_bytes(free)} are free there",
            "Free some space or choose another disk",
        )


class Shards:
    """Weight files of known layout, filled in any order, by any number of threads.

    Headers are written and the space reserved at once; data go to their place; what has been
    written is brought to the disk in the background.

    Args:
        folder: an existing folder.
        shards: which tensors go into which file.
    """

    def __init__(self, folder: Path, shards: Sequence[Sequence[Shape]]) -> None:
        self._folder = folder
        self._shards = shards
        self._places: dict[str, tuple[int, int]] = {}
        self._handles: list[int] = []
        self._files: dict[str, str] = {}
        self._dirty = 0
        self._lock = threading.Lock()
        self._syncing = ThreadPoolExecutor(1, "sync")

    def __enter__(self) -> "Shards":
        try:
            for number, tensors in enumerate(self._shards, start=1):
                self._begin(number, tensors)
        except BaseException:
            self._close()
            raise
        return self

    def _begin(self, number: int, tensors: Sequence[Shape]) -> None:
        file = SINGLE if len(self._shards) == 1 else _shard_name(number, len(self._shards))
        header, offsets, size = _lay_out(tensors)
        handle = os.open(self._folder / file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._handles.append(handle)
        _reserve(handle, size)
        _write_all(handle, 0, memoryview(header))
        self._places |= {name: (handle, offset) for name, offset in offsets.items()}
        self._files |= dict.fromkeys(offsets, file)

    def _close(self) -> None:
        self._syncing.shutdown(cancel_futures=True)
        for handle in self._handles:
            os.close(handle)

    def write(self, name: str, at: int, data: memoryview) -> None:
        """Write bytes of the tensor `name`, from its byte offset `at` on."""
        handle, start = self._places[name]
        _write_all(handle, start + at, data)
        with self._lock:
            self._dirty += len(data)
            due, self._dirty = self._dirty >= SYNC_BYTES, self._dirty % SYNC_BYTES
        if due:
            self._syncing.submit(os.fsync, handle)

    def __exit__(self, kind: object, *_: object) -> None:
        """Bring everything to the disk and, for several files, write their index."""
        try:
            for handle in self._handles if kind is None else ():
                os.fsync(handle)
        finally:
            self._close()
        if kind is None and len(self._shards) > 1:
            total = sum(tensor.bytes for shard in self._shards for tensor in shard)
            places = dict(sorted(self._files.items()))
            index = {"metadata": {"total_size": total}, "weight_map": places}
            write_text(self._folder / INDEX, json.dumps(index, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text file and bring it to the disk."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's contents (not its mode) and bring it to the disk.

    Raises:
        CheckpointError: the source cannot be read, or is a link out of its folder.
    """
    check_place(source.parent, source)
    try:
        origin = source.open("rb")
    except OSError as error:
        raise unreadable(source, error) from None
    with origin, target.open("wb") as copy:
        shutil.copyfileobj(origin, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _lay_out(tensors: Sequence[Shape]) -> tuple[bytes, dict[str, int], int]:
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        extent = [end, end + tensor.bytes]
        table[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": extent,
        }
        end = extent[1]
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    header = struct.pack("<Q", len(text)) + text
    offsets = {t.name: len(header) + table[t.name]["data_offsets"][0] for t in tensors}
    return header, offsets, len(header) + end


def _reserve(handle: int, size: int) -> None:
    try:
        os.posix_fallocate(handle, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        os.ftruncate(handle, size)


def _write_all(handle: int, offset: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], offset + done)


def _sweep(target: Path) -> None:
    """Remove what killed processes left of `target`; what living ones write is left alone."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
        number = left.name.rpartition("-")[2]
        if not number.isdigit() or int(number) == os.getpid() or not _is_alive(int(number)):
            _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _absolute(target: Path) -> Path:
    """Return where a result really goes: a link to a folder is followed."""
    if target.is_symlink() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return Path(os.path.realpath(target) if target.is_dir() else os.path.abspath(target))


def _replace_folder(partial: Path, target: Path) -> None:
    old = target.parent / f".{target.name}.old"
    _remove(old)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    _sync_folder(target.parent)
    _remove(old)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OutputError(
                f"the disk is full: {target} was not written", "Free some space and run again"
            ) from error
        hint = "Ask for larger shards" if error.errno == errno.EMFILE else "Choose another place"
        raise OutputError(f"{target} cannot be written: {error.strerror or error}", hint) from error


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def show_bytes(count: float) -> str:
    """Write a number of bytes as people read it: 1.2 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
