"""The harness is an extra: without it there is one line. What makes a task has one spelling."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.errors import MissingExtra
from evomerge.evaluation.harness.installation import plain, require_harness
from evomerge.evolve.tasks import build_tasks


@pytest.fixture
def without_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the package."""
    find: Callable[..., Any] = importlib.util.find_spec
    hidden = lambda name, *more: None if name == "lm_eval" else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)


@pytest.mark.usefixtures("without_the_harness")
def test_without_the_harness_there_is_one_line() -> None:
    config = parse_config(
        {
            "seed": 1,
            "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
            "tasks": [{"name": "arc_easy"}],
        }
    )
    with pytest.raises(MissingExtra) as error:
        build_tasks(config)
    assert str(error.value) == (
        "tasks without an `evaluator` need lm-evaluation-harness, which is not installed. "
        "pip install 'evomerge[eval]'"
    )
    assert error.value.exit_code == 2


def test_with_it_there_is_none() -> None:
    require_harness()


def test_functions_are_spelled_by_their_files(tmp_path: Path) -> None:
    spelled = plain({"a": [1, 2.5, None, True, "x"], "f": plain, "p": tmp_path, 3: {"y"}})
    assert spelled["a"] == [1, 2.5, None, True, "x"]
    assert spelled["f"].startswith("plain ")
    assert len(spelled["f"].split()[1]) == 64
    assert spelled["p"] == str(tmp_path)
    assert spelled["3"] == ["y"]
