"""Natural niches over an ancestry, a whole run: children are sums of founders; it resumes alike."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evomerge.evolve import evolve, resume
from evomerge.store import CandidateRow, open_store

MakeModel = Callable[..., Path]
JUDGE = """
def judge(recipe, items):
    if "slices" not in recipe:  # a model as it is, or what people use without searching
        return [0.0] * len(items)
    found = []
    for item in items:
        sources = recipe["slices"][item["layer"]]["sources"]
        rules = sources[item["founder"]]["parameters"]["weight"]
        weight = rules[-1]["value"] if isinstance(rules, list) else rules
        found.append(float(weight > item["much"]))
    return found
"""
"""An item is solved where one founder has much of a layer."""


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> dict[str, Any]:
    (tmp_path / "judge.py").write_text(JUDGE)
    wanted = [0, 1, 2, 0]  # whose layer is best, layer by layer
    rows = [
        {"layer": layer, "founder": founder, "much": 0.2 * step + 0.01 * k, "split": split}
        for k, split in enumerate(("search", "validation", "test"))
        for layer, founder in enumerate(wanted)
        for step in range(1, 5)
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "genome": {"space": "ancestry", "models": [str(tiny_llama(k)) for k in (1, 2, 3)]},
        "tasks": [
            {
                "name": "layers",
                "evaluator": "python_function",
                "data": str(tmp_path / "items.jsonl"),
                "function": f"{tmp_path / 'judge.py'}:judge",
                "subject": "recipe",
            }
        ],
        "search": {"algorithm": "natural_niches", "evaluations": 60, "archive": 10, "batch": 4},
        "executor": {"name": "local", "threads": 1},
        "finalists": 2,
    }


def rows(folder: Path) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates("search")


def test_children_combine_what_founders_are_good_at(
    document: dict[str, Any], tmp_path: Path
) -> None:
    result = evolve(document, runs=tmp_path)
    found = rows(result.folder)
    founders = [row.objective for row in found[:3]]
    assert founders == [0.5, 0.25, 0.25]
    assert max(row.objective or 0.0 for row in found) >= 0.75
    assert {row.origin["how"] for row in found[3:]} == {"merger"}
    assert {row.recipe["merge_method"] for row in found} == {"linear"}
    assert all(
        "sources" not in str(part["model"]) for part in found[-1].recipe["slices"][0]["sources"]
    )
    assert len([row for row in found if row.elite]) == 10


@pytest.mark.parametrize("known", [2, 31])
def test_search_goes_on_from_any_candidate_as_if_never_interrupted(
    document: dict[str, Any], tmp_path: Path, known: int
) -> None:
    whole = rows(evolve(document, runs=tmp_path).folder)
    with closing(sqlite3.connect(tmp_path / "run" / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running', verdict = NULL")
        first = "(SELECT min(number) FROM candidates WHERE stage = 'search')"
        store.execute(f"DELETE FROM candidates WHERE number >= {first} + {4 * (known // 4)}")
    resume("run", runs=tmp_path)
    again = rows(tmp_path / "run")
    assert [(r.genome, r.fingerprint, r.objective, r.origin, r.elite) for r in again] == [
        (r.genome, r.fingerprint, r.objective, r.origin, r.elite) for r in whole
    ]
