"""Judges that hang, raise, give NaN or the wrong keys: each a result, and the run goes on."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import ConfigError, EvaluationError
from evomerge.evolve import evolve, resume
from evomerge.store import CandidateRow, open_store

MakeModel = Callable[..., Path]

JUDGE = """
import os, time, sys
from pathlib import Path


def weight(recipe):
    found = recipe["models"][0].get("parameters", {}).get("weight")
    return found if isinstance(found, (int, float)) else found[0]["value"] if found else None


def judge(recipe, items):
    known = weight(recipe)
    number = None if known is None or known == 1.0 else int(known * 1000) % 10
    with open(Path(__file__).with_name("log"), "a") as log:
        log.write(f"{number} ")
    if number == 0:
        time.sleep(600)
    if number == 1:
        raise KeyError("why")
    if number == 3:
        return {"accuracy": float("nan")}
    if number == 5:
        return {"acuracy": 0.5}
    if number == 8:
        raise KeyboardInterrupt
    if number == 6:
        sys.exit("enough")
    return {"accuracy": 1.0 - abs((0.5 if known is None else known) - 0.4)}
"""
REASONS = {
    "no answer within 2 s",
    "KeyError: 'why'",
    "task near: 4 of 4 scores are NaN or infinite. Make the metric return a finite number for "
    "every item",
    "task near: the judge gave no 'accuracy' (did you mean 'acuracy'?). It gave acuracy",
    "SystemExit: enough",
    "KeyboardInterrupt, which nobody but the judge can have raised",
}


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> dict[str, Any]:
    """Return a run of recipes whose judge fails in every way it can."""
    splits = ["search"] * 4 + ["validation"] * 4 + ["test"] * 4
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(JUDGE)
    task = {
        "name": "near",
        "evaluator": "python_function",
        "data": str(tmp_path / "items.jsonl"),
        "function": f"{tmp_path / 'judge.py'}:judge",
        "subject": "recipe",
        "metrics": ["accuracy"],
    }
    return {
        "genome": {"models": [str(tiny_llama(1)), str(tiny_llama(2))], "merge_method": "linear"},
        "tasks": [task],
        "search": {"algorithm": "random", "evaluations": 16, "population": 16},
        "executor": {"name": "processes", "workers": 2, "threads": 1, "timeout": 2},
        "finalists": 3,
    }


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


@pytest.mark.slow
def test_every_way_to_fail_is_a_result_and_the_run_goes_on(
    document: dict[str, Any], tmp_path: Path
) -> None:
    result = evolve(document, runs=tmp_path)
    search = rows(result.folder, "search")
    assert len(search) == 16
    assert {row.error for row in search if row.error} == REASONS
    good = [row for row in search if not row.error]
    assert good
    assert all(row.objective is not None and row.state == "done" for row in good)
    tried = (tmp_path / "log").read_text().split()
    hung = [row for row in search if row.error == "no answer within 2 s"]
    assert tried.count("0") == len(hung)  # none was tried again
    assert result.verdict.untested == ("near",)
    assert "one number for all" in result.verdict.sentence
    with closing(sqlite3.connect(result.folder / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running', verdict = NULL")
    again = resume("run", runs=tmp_path)  # what hung stays failed
    assert rows(again.folder, "search") == search
    assert again.verdict.sentence == result.verdict.sentence
    assert (tmp_path / "log").read_text().split() == tried


def test_judge_that_hangs_on_a_parent_ends_the_run_in_time(
    document: dict[str, Any], tmp_path: Path
) -> None:
    text = JUDGE.replace("known = weight(recipe)", "time.sleep(600)")
    (tmp_path / "judge.py").write_text(text)
    with pytest.raises(EvaluationError, match=r"cannot be evaluated: no answer within 2 s\. Mend"):
        evolve(document, runs=tmp_path)


def test_timeout_that_nobody_can_keep_is_told_before_the_run(
    document: dict[str, Any], tmp_path: Path
) -> None:
    document["executor"] = {"name": "local", "timeout": 2}
    message = r"executor\.timeout: local cannot end a judge that hangs; only processes can"
    with pytest.raises(ConfigError, match=message):
        evolve(document, runs=tmp_path)
    assert not (tmp_path / "run").exists()
