"""Whole runs in small: a judge without torch, the zoo, what a run leaves, a command line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MakeModel = Callable[..., Path]

JUDGE = """
import json
import os
from pathlib import Path

LOG = Path(__file__).with_name("evaluated.jsonl")


def numbers(value):
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [number for part in parts for number in numbers(part)]


def note(recipe, items):
    lines = [json.dumps([recipe, item["task"], item["x"]], sort_keys=True) for item in items]
    with LOG.open("ab", buffering=0) as log:
        log.write("".join(line + "\\n" for line in lines).encode())


def judge(recipe, items):
    note(recipe, items)
    found = numbers(recipe) or [0.0]
    return [-sum((n - item["x"]) ** 2 for n in found) / len(found) for item in items]


def error(recipe, items):
    return [-score for score in judge(recipe, items)]
"""


@dataclass(frozen=True)
class RecipeRun:
    """A run whose judge looks at recipes only, and the log of what it looked at."""

    document: dict[str, Any]
    log: Path

    def evaluated(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def recipe_run(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., RecipeRun]:
    """Return make(search=..., executor=..., **changes) -> a run that takes a tenth of a second."""
    judge = tmp_path / "judge.py"
    judge.write_text(JUDGE)
    for task in ("near", "far"):
        rows = [
            {"x": k / 10 + (task == "far"), "task": task, "split": split}
            for split, first in (("search", 0), ("validation", 3), ("test", 6))
            for k in range(first, first + 3)
        ]
        (tmp_path / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(**changes: Any) -> RecipeRun:
        def task(name: str, function: str, **rest: Any) -> dict[str, Any]:
            data = str(tmp_path / f"{name}.jsonl")
            options = {"function": f"{judge}:{function}", "subject": "recipe", **rest}
            return {"name": name, "evaluator": "python_function", "data": data, **options}

        document = {
            "name": "run",
            "seed": 3,
            "genome": {
                "models": [str(tiny_llama(1)), str(tiny_llama(2))],
                "base_model": str(tiny_llama(0)),
                "merge_method": "task_arithmetic",
                "layer_granularity": 2,
            },
            "tasks": [
                task("near", "judge"),
                task("far", "error", higher_is_better=False, weight=0.5),
            ],
            "search": {"algorithm": "cma", "evaluations": 12, "population": 5},
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
        }
        return RecipeRun({**document, **changes}, judge.with_name("evaluated.jsonl"))

    return make


@pytest.fixture(scope="session")
def zoo_document() -> dict[str, Any]:
    """Return a run on the embedded models that takes a few seconds."""
    tasks = [
        {"name": name, "evaluator": "exact_match", "data": f"zoo:{name}", "max_new_tokens": 10}
        for name in ("reverse", "sort")
    ]
    return {
        "name": "zoo",
        "seed": 1,
        "genome": {
            "models": ["zoo:reverse", "zoo:sort"],
            "base_model": "zoo:base",
            "merge_method": "task_arithmetic",
        },
        "tasks": tasks,
        "items": {"search": 16, "validation": 16, "test": 16},
        "search": {"algorithm": "cma", "evaluations": 12, "population": 5},
        "executor": {"name": "local", "threads": 1, "device": "cpu"},
        "finalists": 2,
    }


@pytest.fixture
def read_run() -> Callable[[Path], dict[str, Any]]:
    """Return read(folder) -> all of a run that must not depend on when it was interrupted."""

    def read(folder: Path) -> dict[str, Any]:
        with sqlite3.connect(folder / "store.db") as store:
            candidates = store.execute(
                "SELECT number, round, stage, label, genome, recipe, fingerprint, state, objective,"
                " items, error FROM candidates ORDER BY number"
            ).fetchall()
            scores = store.execute("SELECT * FROM scores").fetchall()
            run = store.execute("SELECT name, config, seed, models, state, verdict FROM run")
            found = {"candidates": candidates, "scores": sorted(scores), "run": run.fetchall()}
        store.close()
        return found

    return read


def _hear_interrupts() -> None:
    """Undo the deafness to Ctrl-C that a process in the background inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def command_line(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Return start(arguments) -> a real `evomerge` process, leader of its own group."""

    def start(arguments: Sequence[str], **settings: Any) -> "subprocess.Popen[str]":
        package = Path(__file__).parents[2]
        path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, "-m", "evomerge", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_hear_interrupts,  # noqa: PLW1509 - nothing else runs in this process
            **settings,
        )

    return start
