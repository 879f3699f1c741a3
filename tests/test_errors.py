"""The exception tree: exit codes, one line each, and a safe way through a pickle."""

import pickle

import pytest

from evomerge import errors
from evomerge.errors import (
    CheckpointError,
    ConfigError,
    EvoMergeException,
    InvalidDocument,
    Problem,
    RecipeError,
    UnknownName,
)

PROBLEMS = [Problem("models[0]", "weight is missing"), Problem("", "no models")]
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, EvoMergeException)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_in_the_drawn_tree(kind: type[EvoMergeException]) -> None:
    drawing = (errors.__doc__ or "").splitlines()
    (line,) = (text for text in drawing if kind.__name__ in text.replace("─", " ").split())
    if "exit code" in line:
        assert f"exit code {kind.exit_code}" in line
    else:
        (parent,) = kind.__bases__
        assert kind.exit_code == parent.exit_code  # type: ignore[attr-defined]  # one of ours


def test_a_message_says_what_and_what_to_do() -> None:
    assert str(CheckpointError("a is missing", "Fetch it")) == "a is missing. Fetch it"
    assert str(CheckpointError("a is missing")) == "a is missing"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(InvalidDocument, "document"), (RecipeError, "recipe"), (ConfigError, "run file")],
)
def test_a_document_lists_all_its_problems(kind: type[InvalidDocument], name: str) -> None:
    assert str(kind("x.yml", PROBLEMS)) == (
        f"x.yml: 2 problems in this {name}\n  - models[0]: weight is missing\n  - no models"
    )
    assert str(kind("x.yml", PROBLEMS[:1])).startswith(f"x.yml: 1 problem in this {name}\n")


@pytest.mark.parametrize(
    "error",
    [
        RecipeError("x.yml", PROBLEMS),
        CheckpointError("a", "b"),
        UnknownName("c"),
        EvoMergeException("d"),
    ],
)
def test_an_error_of_a_worker_arrives_whole(error: EvoMergeException) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


class UnspeakableError(Exception):
    """One that raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a\nb"), "ValueError: a"),
        (ValueError(""), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "SystemExit: 3"),
        (UnspeakableError(), "UnspeakableError"),
    ],
)
def test_what_a_stranger_raises_is_one_line(error: BaseException, told: str) -> None:
    assert errors.describe(error) == told
