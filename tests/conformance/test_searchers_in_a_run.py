"""Every registered searcher in a whole run that is killed, and asks for the same again."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.evolve import evolve, resume
from evomerge.search import SEARCHERS
from evomerge.store import CandidateRow, open_store

OPTIONS: Mapping[str, Mapping[str, Any]] = {"llm": {"backend": "mock"}}
"""What a searcher cannot do without."""
EVALUATIONS = 30
WEIGHTS = {
    "models": ["zoo:sort", "zoo:reverse"],
    "base_model": "zoo:base",
    "merge_method": "task_arithmetic",
}
PATHS = {"space": "data_flow", "models": ["zoo:sort", "zoo:reverse"], "scales": "none"}
"""Eight layers that are on a path or not, so that many a path comes again."""
JUDGE = """
import json
from pathlib import Path
from zlib import crc32

CALLS, DEADLY = (Path(__file__).parent / name for name in ("calls", "deadly"))


def judge(recipe, items):
    text = json.dumps(recipe, sort_keys=True)
    with CALLS.open("a") as calls:
        calls.write(json.dumps([items[0]["split"], text]) + "\\n")
    if DEADLY.exists() and len(CALLS.read_text().splitlines()) == int(DEADLY.read_text()):
        DEADLY.unlink()
        raise KeyboardInterrupt
    return [float(crc32(f"{text} {item['id']}".encode()) % 3 == 0) for item in items]
"""
MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """Return make_config(name, genome): a run whose judge looks at recipes only, and counts."""
    splits = ("search", "validation", "test")
    rows = [{"id": f"{split} {k}", "split": split} for split in splits for k in range(6)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(JUDGE)
    task = {
        "evaluator": "python_function",
        "function": str(tmp_path / "judge.py:judge"),
        "subject": "recipe",
        "data": str(tmp_path / "items.jsonl"),
    }

    def make(name: str, genome: Mapping[str, Any]) -> RunConfig:
        goals = max(2, SEARCHERS.get(name).goals[0])
        search = {"algorithm": name, "evaluations": EVALUATIONS, **OPTIONS.get(name, {})}
        return parse_config(
            {
                "name": name,
                "genome": dict(genome),
                "tasks": [{"name": f"task {k}", **task} for k in range(goals)],
                "search": search,
                "racing": False,
                "executor": {"name": "local"},
                "finalists": 1,
            }
        )

    return make


def read_candidates(folder: Path) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates("search")


def say(rows: list[CandidateRow]) -> list[tuple[Any, ...]]:
    return [(row.label, row.genome, row.fingerprint, row.objective, row.origin) for row in rows]


def find_middle_of_a_batch(rows: list[CandidateRow]) -> int:
    """Return the number of different merges up to the second new one of a batch, the last such."""
    seen: set[str] = set()
    found = 0
    for _, batch in groupby(rows, key=lambda row: row.round):
        before = len(seen)
        seen.update(row.fingerprint for row in batch)
        found = before + 2 if len(seen) >= before + 2 else found
    return found


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_a_run_that_is_killed_within_a_batch_goes_on_as_if_it_had_not_been(
    name: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(name, WEIGHTS)
    whole = read_candidates(evolve(config, runs=tmp_path / "whole").folder)
    assert len(whole) == EVALUATIONS

    parents, tasks = 3, len(config.tasks)
    deadly = (parents + find_middle_of_a_batch(whole) - 1) * tasks + 1
    (tmp_path / "calls").unlink()
    (tmp_path / "deadly").write_text(str(deadly))
    with pytest.raises(KeyboardInterrupt):
        evolve(config, runs=tmp_path / "killed")
    last = [row for row in read_candidates(tmp_path / "killed" / name) if row.objective is None]
    assert len({row.round for row in last}) == 1, "it was killed within a batch"
    resume(name, runs=tmp_path / "killed")
    assert say(read_candidates(tmp_path / "killed" / name)) == say(whole)


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_what_is_asked_for_again_is_not_judged_again(
    name: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(name, PATHS)
    rows = read_candidates(evolve(config, runs=tmp_path / "runs").folder)
    assert len({row.fingerprint for row in rows}) < len(rows)
    counts = Counter((tmp_path / "calls").read_text().splitlines())
    assert set(counts.values()) == {len(config.tasks)}, "once by every task"
