"""Whether lm-evaluation-harness is here, and how loud it may be."""

import hashlib
import importlib.util
import inspect
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evomerge.errors import MissingExtra

NEEDS = ("lm_eval", "accelerate")
"""What the extra brings: the harness, and what its own transformers scorer imports."""


def require_harness() -> None:
    """Check that the harness is installed; from here on it speaks of errors only.

    Raises:
        MissingExtra: it is not.
    """
    if not all(importlib.util.find_spec(package) for package in NEEDS):
        raise MissingExtra(
            "tasks without an `evaluator` need lm-evaluation-harness, which is not installed",
            "pip install 'evomerge[eval]'",
        )
    for name in ("lm_eval", "datasets", "transformers.tokenization_utils_base"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from datasets import disable_progress_bars

    disable_progress_bars()


def harness_version() -> str:
    """Return the installed version."""
    return version("lm_eval")


def plain(value: Any) -> Any:
    """Return JSON values in place of a task's configuration; functions become their files' hash."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(entry) for entry in value]
    if callable(value):
        return f"{getattr(value, '__qualname__', '')} {_hash_file(value)}"
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _hash_file(function: Callable[..., Any]) -> str:
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        source = None
    if source is None or not Path(source).is_file():
        return ""
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()
