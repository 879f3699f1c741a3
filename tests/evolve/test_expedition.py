"""A search in phases: what a phase finds is where others begin; one that fails loses nothing."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evolve import evolve
from evomerge.store import CandidateRow, open_store

Document = dict[str, Any]
MERGE = {"merge_method": "task_arithmetic", "base_model": "zoo:base"}
JUDGE = """
import hashlib
import json


def judge(recipe, items):
    written = json.dumps(recipe, sort_keys=True)
    slices = recipe.get("slices", [])
    scaled = any("input_scale" in part for part in slices)
    if {failure}:
        raise ValueError("not today")
    luck = hashlib.sha512(written.encode()).digest()
    return [luck[item["x"]] / 256 for item in items]
"""


@pytest.fixture
def document(tmp_path: Path) -> Callable[..., Document]:
    """Return make(failure, genome, **changes) -> a run whose judge looks at recipes only."""
    splits = [name for name in ("search", "validation", "test") for _ in range(20)]
    rows = [{"x": k, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(failure: str, genome: Document, **changes: Any) -> Document:
        judge = tmp_path / "judge.py"
        judge.write_text(JUDGE.replace("{failure}", failure))
        task = {
            "name": "luck",
            "evaluator": "python_function",
            "data": str(tmp_path / "items.jsonl"),
            "function": f"{judge}:judge",
            "subject": "recipe",
        }
        return {
            "seed": 1,
            "genome": {"models": ["zoo:sort", "zoo:reverse"], **genome},
            "tasks": [task],
            "search": {"algorithm": "random", "evaluations": 28},
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
            **changes,
        }

    return make


MakeDocument = Callable[..., Document]


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def count(found: list[CandidateRow]) -> Counter[str]:
    return Counter(row.state for row in found)


def test_a_merge_wins_where_every_path_fails(document: MakeDocument, tmp_path: Path) -> None:
    result = evolve(document("slices", {"space": "both", **MERGE}), runs=tmp_path)
    search = rows(result.folder, "search")
    # of 14 merges and 2 x 7 paths only layers are searched: there is no path to refine
    assert count(search) == {"done": 14, "failed": 3 + 4}
    (winner, *_) = rows(result.folder, "test")
    assert winner.recipe["merge_method"] == "task_arithmetic"
    assert "7 of 21 candidates failed" in result.verdict.failures


def test_a_path_wins_where_all_scales_fail(document: MakeDocument, tmp_path: Path) -> None:
    result = evolve(document("scaled", {"space": "data_flow", "shortest": 4}), runs=tmp_path)
    search = rows(result.folder, "search")
    layers, free = ([r for r in search if r.phase == name] for name in ("layers", "free scales"))
    assert (count(layers), count(free)) == ({"done": 14}, {"failed": 7})
    validated = rows(result.folder, "validation")
    best = max(validated, key=lambda row: (row.objective or 0, -row.number))
    (winner, *_) = rows(result.folder, "test")
    assert winner.fingerprint == best.fingerprint
    assert winner.fingerprint in {row.fingerprint for row in layers}


@pytest.mark.parametrize("space", ["data_flow", "both"])
def test_a_search_that_finds_nothing_to_begin_with_says_so(
    space: str, document: MakeDocument, tmp_path: Path
) -> None:
    genome = {"space": space, **(MERGE if space == "both" else {})}
    known = '"slices" in recipe or recipe["merge_method"] == "task_arithmetic"'
    with pytest.raises(EvaluationError, match=r"all 14 candidates failed; the first: .*not today"):
        evolve(document(known, genome), runs=tmp_path)


@pytest.mark.parametrize("changes", [{"items": {"batch": 4}}, {"racing": {"first": 5}}])
def test_every_phase_may_race_and_have_items_of_its_own_rounds(
    changes: Document, document: MakeDocument, tmp_path: Path
) -> None:
    made = document("False", {"space": "both", "scales": "none", **MERGE}, **changes)
    result = evolve(made, runs=tmp_path)
    search = rows(result.folder, "search")
    assert len(search) == 28
    assert not count(search)["failed"]
    assert {row.label for row in search} == {f"candidate {k}" for k in range(28)}
    if "items" in changes:
        assert {row.items for row in search} == {4}
    else:
        assert count(search)["raced out"]
    for stage in ("snapshot", "validation"):
        assert {row.fingerprint for row in rows(result.folder, stage)} <= {
            row.fingerprint for row in search if row.state == "done"
        }
