"""A sound run file, and what is wrong with a changed one."""

from collections.abc import Callable
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.errors import ConfigError


def make_document(**changes: Any) -> dict[str, Any]:
    """Return a sound run file; a change to None takes a key away, dicts are merged."""
    found: dict[str, Any] = {
        "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
        "tasks": [{"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}],
    }
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = {**found[key], **value} if both else value
    return found


@pytest.fixture
def document() -> Callable[..., dict[str, Any]]:
    """Return make(**changes) -> a sound run file with changes."""
    return make_document


@pytest.fixture
def problems() -> Callable[[dict[str, Any]], dict[str, str]]:
    """Return find(document) -> YAML path -> what is wrong there."""

    def find(wrong: dict[str, Any]) -> dict[str, str]:
        with pytest.raises(ConfigError, match="in this run file") as error:
            parse_config(wrong)
        return {problem.path: problem.message for problem in error.value.problems}

    return find
