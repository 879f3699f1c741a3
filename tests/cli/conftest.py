"""The command line in this process, in a folder of its own, and runs that are cheap to start."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MakeModel = Callable[..., Path]

JUDGE = """
def judge(recipe, items):
    first = recipe["models"][0].get("parameters", {}).get("weight", 0.5)
    weight = first if isinstance(first, float) else first[0]["value"] if first else 0.5
    return [1.0 - abs(weight - item["x"]) for item in items]
"""

GOALS = """
def weight(recipe):
    found = recipe["models"][0].get("parameters", {}).get("weight", 0.5)
    return found if isinstance(found, float) else found[-1]["value"]


def low(recipe, items):
    return [1.0 - weight(recipe) ** 2 - item["x"] for item in items]


def high(recipe, items):
    return [1.0 - (1.0 - weight(recipe)) ** 2 - item["x"] for item in items]
"""


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message: all of stderr but progress lines, without its `error: `."""
        assert "Traceback" not in self.err
        before, found, message = self.err.rpartition("error: ")
        assert found, self.err
        assert all("/" in line for line in before.splitlines()), self.err
        return message.removesuffix("\n")


Run = Callable[..., Answer]


@pytest.fixture
def evomerge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Return run(*arguments) -> Answer; the current folder is `tmp_path`."""
    from evomerge.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logger = logging.getLogger("evomerge")
    handlers, logger.handlers = logger.handlers, []

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["evomerge", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        return Answer(code, out, err)

    yield run
    for number, handler in heard.items():
        signal.signal(number, handler)
    logger.handlers = handlers


@pytest.fixture
def write_run(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., Path]:
    """Return write(**changes) -> run file of a run that takes a tenth of a second."""
    (tmp_path / "judge.py").write_text(JUDGE)
    splits = ["search"] * 4 + ["validation"] * 4 + ["test"] * 4
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(**changes: Any) -> Path:
        from evomerge.recipe import write_yaml

        task = {
            "name": "near",
            "evaluator": "python_function",
            "data": "items.jsonl",
            "function": "judge.py:judge",
            "subject": "recipe",
        }
        document = {
            "genome": {
                "models": [str(tiny_llama(1)), str(tiny_llama(2))],
                "merge_method": "linear",
                **changes.pop("genome", {}),
            },
            "tasks": [{**task, **changes.pop("task", {})}],
            "search": {"evaluations": 8, "population": 4},
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
            **changes,
        }
        file = tmp_path / "first.yml"
        file.write_text(write_yaml(document))
        return file

    return write


@pytest.fixture
def write_goals(write_run: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return write(**changes) -> run file of a run with two goals."""
    (tmp_path / "goals.py").write_text(GOALS)

    from evomerge.recipe import read_yaml, write_yaml

    def write(**changes: Any) -> Path:
        file = write_run(search={"algorithm": "nsga2", "evaluations": 16, "population": 8})
        document = read_yaml(file.read_text(), "first.yml")
        first = {**document["tasks"][0], "name": "low", "function": "goals.py:low"}
        document["tasks"] = [first, {**first, "name": "high", "function": "goals.py:high"}]
        file.write_text(write_yaml({**document, **changes}))
        return file

    return write
