"""Which weight files a model folder has, and which tensors they hold.

Files are found by their names in the folder alone: an index or a link may not lead elsewhere,
except to where the Hugging Face cache keeps the files of the same model.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evomerge.checkpoints.header import LONGEST_HEADER, Entry, damaged, read_header, unique_keys
from evomerge.checkpoints.pickled import read_pickle
from evomerge.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = "pytorch_model.bin.index.json", "pytorch_model.bin"
CACHED = "models--"
"""Beginning of a model's folder in the Hugging Face cache: snapshots link to its blobs."""
LONGEST_NAME = 255
"""Bytes of a file's name."""


def read_entries(folder: Path) -> list[Entry]:
    """Return every tensor's entry, sorted by name; PyTorch's files only where no others are.

    Raises:
        CheckpointError: files are missing, damaged, or not in the folder.
    """
    if any((folder / name).exists() for name in (INDEX, SINGLE)):
        found = _read_files(folder, folder / INDEX, folder / SINGLE, read_header)
    else:
        index, single = (folder / name for name in PICKLES)
        found = _read_files(folder, index, single, read_pickle)
    return sorted(found, key=lambda entry: entry.name)


def check_place(folder: Path, file: Path) -> None:
    """Check that a file of a model is in its folder, or in the same model's part of the cache.

    Raises:
        CheckpointError: it is a link to somewhere else, or no file at all (a pipe, a device).
    """
    try:
        real, home = file.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        raise CheckpointError(f"{file} is a link that leads nowhere", "Fetch it again") from None
    cached = (parent for parent in (home, *home.parents) if parent.name.startswith(CACHED))
    if not any(real.is_relative_to(place) for place in (home, *cached)):
        raise CheckpointError(
            f"{file} is a link out of its folder, to {real}", "Put the file itself there"
        )
    if real.exists() and not (real.is_file() or real.is_dir()):
        raise damaged(file, "it is no file")


def _read_files(
    folder: Path, index: Path, single: Path, read: Callable[[Path], list[Entry]]
) -> list[Entry]:
    if not index.exists():
        return read(_check_single(folder, single))
    table = _read_weight_map(folder, index)
    found: dict[str, Entry] = {}
    for file in dict.fromkeys(table.values()):
        for entry in read(folder / file):
            if table.get(entry.name, file) != file:
                continue  # it stands in several shards: the index decides
            if entry.name in found:
                raise damaged(
                    folder / file, f"{entry.name} is in another file too, {index.name} not"
                )
            found[entry.name] = entry
    for name, file in table.items():
        if name not in found:
            raise damaged(folder / file, f"it lacks tensor {name}, which {index.name} promises")
    return list(found.values())


def _check_single(folder: Path, file: Path) -> Path:
    if not file.exists():
        raise CheckpointError(
            f"{folder} holds no {SINGLE}, no {INDEX} and no {file.name}",
            "Is this a complete model folder?",
        )
    check_place(folder, file)
    return file


def _read_weight_map(folder: Path, file: Path) -> dict[str, str]:
    table = read_json(file, str(folder), object_pairs_hook=unique_keys).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise damaged(file, "it has no weight_map")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        if Path(name).name != name or name in ("", "..") or not _is_name(name):
            raise damaged(file, f"its weight_map leaves the folder: {name[:100]!r}")
        check_place(folder, folder / name)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(names)} weight files: {', '.join(missing)}",
            "Fetch the model again",
        )
    return {tensor: str(name) for tensor, name in table.items()}


def _is_name(name: str) -> bool:
    return name.isprintable() and len(name.encode()) <= LONGEST_NAME


def read_json(file: Path, reference: str, **options: Any) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        file: at most 100 MB long.
        reference: what the user calls the model.
        **options: for `json.loads`.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    check_place(file.parent, file)
    try:
        if file.stat().st_size > LONGEST_HEADER:
            raise damaged(file, f"it has {file.stat().st_size} bytes")
        value = json.loads(file.read_text(encoding="utf-8"), **options)
    except FileNotFoundError:
        raise CheckpointError(
            f"{reference} has no {file.name}", f"Is {file.parent} a complete model folder?"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from None
    if not isinstance(value, dict):
        raise damaged(file, "it is not a JSON object")
    return value
