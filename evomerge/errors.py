"""The exception tree: every error says what is wrong, why, and what to do.

```
EvoMergeException                exit code 1
├── InvalidDocument              exit code 2   a recipe or a run file; lists *all* its problems
│   ├── RecipeError
│   └── ConfigError
├── CheckpointError              a model folder is missing, damaged or of another shape
├── OutputError                  a result cannot be written: no permission, no space
├── EvaluationError              a task, its items or its scores are unusable
├── EndpointError                a language-model endpoint is down, slow, or refuses
├── ExecutorError                workers cannot be started or kept alive
├── StoreError                   the run store cannot be read or written
├── UnknownName                  exit code 2   nothing is registered under that name
└── MissingExtra                 exit code 2   an optional package is not installed
```
"""

from collections.abc import Iterable
from dataclasses import dataclass


class EvoMergeException(Exception):  # noqa: N818 - the name the project's first users import
    """Base of all errors a user can mend.

    Args:
        what: what is wrong and why, one line.
        hint: what to do about it, one line; empty where `what` says it all.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}. {self.hint}" if self.hint else self.what


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document, at its YAML path (`slices[0].sources[1].model`)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidDocument(EvoMergeException):
    """A YAML document with one or more problems, all of them listed."""

    exit_code = 2
    kind = "document"

    def __init__(self, source: str, problems: Iterable[Problem], *, kind: str = "") -> None:
        self.source = source
        self.problems = tuple(problems)
        self.kind = kind or self.kind
        count = len(self.problems)
        head = f"{source}: {count} problem{'s' if count != 1 else ''} in this {self.kind}"
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{head}{lines}")


class RecipeError(InvalidDocument):
    """A merge recipe that cannot be carried out."""

    kind = "recipe"


class ConfigError(InvalidDocument):
    """A run file that cannot be carried out."""

    kind = "run file"


class CheckpointError(EvoMergeException):
    """A model folder that is missing, damaged, or of the wrong shape."""


class OutputError(EvoMergeException):
    """A result that cannot be written."""


class EvaluationError(EvoMergeException):
    """A task whose items, metric or scores cannot be used."""


class EndpointError(EvoMergeException):
    """A language-model endpoint that is down, slow, refuses, or talks nonsense."""


class ExecutorError(EvoMergeException):
    """Workers that cannot be started or kept alive."""


class StoreError(EvoMergeException):
    """A run store that cannot be read or written."""


class UnknownName(EvoMergeException):
    """Nothing is registered under the name asked for."""

    exit_code = 2


class MissingExtra(EvoMergeException):
    """An optional package that is not installed."""

    exit_code = 2


def describe(error: BaseException) -> str:
    """Return the kind and the first line of an exception that a stranger's code has raised."""
    try:
        said = str(error).strip()
    except Exception:  # it may raise another when it is asked what it says
        said = ""
    return ": ".join([type(error).__name__, *said.splitlines()[:1]])
