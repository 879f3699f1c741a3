"""A merge that is asked for twice is measured once; both times its searcher knows all of it."""

from pathlib import Path
from typing import Any

from evomerge.evolve import evolve
from evomerge.store import open_store


def test_descriptors_of_a_merge_that_was_tried_before_are_known(tmp_path: Path) -> None:
    """One seed of three is all there is to find: most of the candidates are repeats."""
    task = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort", "max_new_tokens": 4}
    document: dict[str, Any] = {
        "genome": {
            "models": ["zoo:sort"],
            "base_model": "zoo:base",
            "merge_method": "svd_task_arithmetic",
            "own_embeddings": False,
            "parameters": {"weight": 0.5, "rate": 0.1},
            "ranges": {"svd_seed": [1, 3]},
        },
        "tasks": [task],
        "items": {"search": 4, "validation": 4, "test": 4},
        "search": {
            "algorithm": "map_elites", "evaluations": 12, "descriptors": ["sort/mean_tokens"],
            "first": 4, "batch": 4,
        },
        "executor": {"name": "local", "threads": 1, "device": "cpu"},
        "finalists": 1,
    }  # fmt: skip
    result = evolve(document, runs=tmp_path)
    with open_store(result.folder) as store:
        rows = store.candidates("search")
    assert len({row.fingerprint for row in rows}) <= 3
    assert sum(bool(row.audit) for row in rows) < len(rows) == 12
    kept = [row.elite for row in rows if row.elite]
    assert kept
    assert all(why.startswith("best with sort/mean_tokens ") for why in kept)
