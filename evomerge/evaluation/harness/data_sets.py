"""Where a task's data set is: beside its YAML, prepared, fetched, or on the hub if that answers.

The `datasets` library asks an unreachable hub for 39 s; here it is asked only once it has answered.
"""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError

PATIENCE = 0.8
"""Seconds within which the hub must answer."""
HEAD = 1 << 16
"""Bytes of a file that are looked at before it is read."""
FILE_FORMATS = {"arrow", "csv", "json", "pandas", "parquet", "sql", "text", "webdataset", "xml"}
"""`dataset_path`s that stand for files of the user's, not for a data set of the hub."""


def is_public(config: Mapping[str, Any], *, builtin: bool) -> bool:
    """Tell whether a task's items are published: anything but files and functions of the user."""
    if config.get("custom_dataset") or not config.get("dataset_path"):
        return builtin
    return not _is_local(config)


def place_data(name: str, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a task's configuration with its data set where it is on this machine.

    Relative files stand beside the YAML or, as the harness has it, in the current folder. A data
    set of the hub is taken from the cache, or asked of the hub if that answers at once.

    Args:
        name: of the task.
        config: its keys and values.
        folder: where its YAML stands.

    Raises:
        EvaluationError: the data set is not here and the hub cannot be reached; or a file is
            missing.
    """
    found = dict(config)
    if found.get("custom_dataset") or not found.get("dataset_path"):
        return found
    if _is_local(found):
        arguments = dict(found.get("dataset_kwargs") or {})
        if "data_files" in arguments:
            arguments["data_files"] = _beside(name, arguments["data_files"], folder)
        if found["dataset_path"] == "json" and "data_dir" not in arguments:
            _check_rows(name, arguments.get("data_files"))
        return {**found, "dataset_kwargs": arguments}
    path = str(found["dataset_path"])
    if _is_prepared(path, found.get("dataset_name")):
        return found
    if (fetched := _fetched(path)) is not None:
        return {**found, "dataset_path": fetched}
    if not _hub_answers():
        raise EvaluationError(
            f"task {name} needs the data set {path}, which is not on this machine, and the hub "
            "cannot be reached",
            f"Where there is a network: hf download {path} --repo-type dataset",
        )
    return found


@contextmanager
def from_cache(config: Mapping[str, Any]) -> Iterator[None]:
    """Load a data set without asking the hub for a newer one, if it is in the library's cache."""
    import datasets.config
    from huggingface_hub import constants

    path = str(config.get("dataset_path") or "")
    here = not _is_local(config) and _is_prepared(path, config.get("dataset_name"))
    before = (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE)
    if here:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _is_local(config: Mapping[str, Any]) -> bool:
    path = str(config.get("dataset_path") or "")
    if path not in FILE_FORMATS:
        return not path or Path(path).expanduser().exists()
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    return not any("://" in file for file in _leaves(files))


def _leaves(files: Any) -> Iterator[str]:
    if isinstance(files, Mapping):
        files = list(files.values())
    for file in files if isinstance(files, (list, tuple)) else [files]:
        if isinstance(file, (list, tuple, Mapping)):
            yield from _leaves(file)
        elif file is not None:
            yield str(file)


def _beside(name: str, files: Any, folder: Path) -> Any:
    """Return `data_files` with paths that exist; patterns are left alone."""
    if isinstance(files, Mapping):
        return {split: _beside(name, entry, folder) for split, entry in files.items()}
    if isinstance(files, (list, tuple)):
        return [_beside(name, entry, folder) for entry in files]
    path = Path(str(files)).expanduser()
    for place in (folder / path, path):
        if place.exists():
            return str(place)
    if any(sign in str(files) for sign in "*?["):
        return str(files)
    raise EvaluationError(
        f"task {name}: there is no file {files}, neither in {folder} nor here",
        "Check data_files in its YAML file",
    )


def _check_rows(name: str, files: Any) -> None:
    """Check that there are rows; the library that reads them crashes where the first is null."""
    places = [Path(file) for file in _leaves(files)]
    if not places:
        raise EvaluationError(f"task {name} names no data_files", "Name them under dataset_kwargs")
    for place in places:
        with place.open("rb") if place.is_file() else BytesIO(b"{}") as file:
            head = file.read(HEAD).lstrip().split(b"\n", 1)[0].strip()
        if head in (b"", b"null"):
            fault = "begins with null" if head else "is empty"
            raise EvaluationError(f"task {name}: {place} {fault}", "Write one JSON object a line")


def _is_prepared(path: str, name: str | None) -> bool:
    """Tell whether the `datasets` library has the data set in its own cache."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    owner, _, own = path.rpartition("/")
    folder = "___".join(part for part in (owner, camelcase_to_snakecase(own)) if part)
    return any(Path(config.HF_DATASETS_CACHE).glob(f"{folder}/{name or '*'}/*/*/dataset_info.json"))


def _fetched(path: str) -> str | None:
    """Return the folder into which `hf download` has put a data set."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(path, repo_type="dataset", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _hub_answers() -> bool:
    """Tell whether the hub answers at once."""
    from datasets import config
    from huggingface_hub import constants

    return not (config.HF_HUB_OFFLINE or constants.HF_HUB_OFFLINE) and _answers(constants.ENDPOINT)


@cache
def _answers(address: str) -> bool:
    """Tell whether a server answers; finding its number in the network has no limit of its own."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer, too
        except OSError:
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(PATIENCE)
