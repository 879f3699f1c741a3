"""`evomerge ls methods` tells all that a recipe may write."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("passthrough", "scale per model = none in (-inf, inf)"),
        ("linear", "normalize = true"),
        ("ties", "weight per model (required) in (-inf, inf) (searched: 0 to 1)"),
        ("ties", "rescale = false of false|true|paper"),
        ("generalized_task_arithmetic", "consensus = none of none|sum|count (searched: all)"),
    ],
)
def test_values_defaults_and_choices_are_told(evomerge: Run, method: str, told: str) -> None:
    rows = json.loads(evomerge("ls", "methods", "--json").out)
    (row,) = [row for row in rows if row["name"] == method]
    assert told in row["parameters"].split("; ")
