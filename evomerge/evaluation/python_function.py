"""Any Python function as the judge: the user's own notion of good."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.records import Item


class PythonFunction(Evaluator):
    """Scores by `function(subject, items) -> one number per item`.

    The function gets a LanguageModel (or, with `subject: recipe`, the recipe as a dict) and the
    items as dicts.

    Args:
        function: `package.module:name` or `path/to/file.py:name`.
        subject: what the function judges.
        higher_is_better: direction of its scores.
    """

    def __init__(
        self,
        function: str,
        subject: Literal["model", "recipe"] = "model",
        higher_is_better: bool = True,
    ) -> None:
        if subject not in ("model", "recipe"):
            raise ValueError(f"subject must be 'model' or 'recipe', not {subject!r}")
        self.subject = subject
        self.higher_is_better = higher_is_better
        self._function = find_function(function)
        self.identity = _hash_source(self._function)

    def _score(self, subject: Any, items: Sequence[Item]) -> Any:
        with redirect_stdout(sys.stderr):  # what a judge prints must not get between the results
            scores = self._function(subject, [dict(item.fields) for item in items])
        return scores.tolist() if hasattr(scores, "tolist") else scores  # numpy, torch, pandas


def find_function(reference: str) -> Callable[..., Any]:
    """Import `module:name` or `file.py:name`.

    Raises:
        EvaluationError: there is no such file, module or function.
    """
    place, _, name = str(reference).rpartition(":")
    if not place or not name:
        raise EvaluationError(
            f"{reference!r} names no function", "Write package.module:name or path/to/file.py:name"
        )
    try:
        module = (
            _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        )
    except (ImportError, OSError, SyntaxError) as error:
        raise EvaluationError(f"{place} cannot be imported: {error}", "Check the path") from None
    except (Exception, SystemExit) as error:  # what a user's file does while it is imported
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise EvaluationError(f"{place} cannot be imported: {reason}", "Mend the file") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise EvaluationError(f"{place} has no function {name!r}", "Check the name after the colon")
    return function  # type: ignore[no-any-return]  # callable is all that is known of it


def _hash_source(function: Callable[..., Any]) -> str:
    """Hash the file that defines a function; empty where there is none."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return ""
    readable = source is not None and Path(source).is_file()
    return hashlib.sha256(Path(str(source)).read_bytes()).hexdigest() if readable else ""


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"evomerge_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
