"""Tasks to measure by, and one measurement that many tests look at."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.evolve.measurement.side_by_side import SideBySide, measure

WriteTasks = Callable[..., str]


@pytest.fixture(scope="session")
def options() -> dict[str, Any]:
    """Return where the tests' own tasks of lm-evaluation-harness are."""
    pytest.importorskip("lm_eval", reason="the harness is an extra: pip install '.[eval]'")
    return {"task_search_path": [str(Path(__file__).parents[2] / "evaluation" / "tasks")]}


@pytest.fixture
def write_tasks(tmp_path: Path) -> WriteTasks:
    """Return write(*tasks, **keys) -> file of tasks of the zoo, by default reverse and sort."""

    def write(*tasks: dict[str, Any], **keys: Any) -> str:
        zoo = [
            {"name": n, "evaluator": "exact_match", "data": f"zoo:{n}", "max_new_tokens": 12}
            for n in ("reverse", "sort")
        ]
        file = tmp_path / "tasks.yml"
        file.write_text(json.dumps({"tasks": [*tasks] or zoo, **keys}))
        return str(file)

    return write


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """Return two specialists measured on 30 items each of what they were trained for."""
    file = tmp_path_factory.mktemp("tasks") / "tasks.yml"
    tasks = [
        {"name": n, "evaluator": "exact_match", "data": f"zoo:{n}", "max_new_tokens": 12}
        for n in ("reverse", "sort")
    ]
    file.write_text(json.dumps({"tasks": tasks}))
    return measure(["zoo:reverse", "zoo:sort"], [str(file)], limit=30)
