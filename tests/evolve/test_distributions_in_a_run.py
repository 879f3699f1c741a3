"""The mean of a distribution is a finalist of every run, whatever became of the distribution."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.evolve import evolve
from evomerge.store import CandidateRow, open_store

Document = dict[str, Any]
MakeDocument = Callable[..., Document]
MODELS = ["zoo:sort", "zoo:reverse", "zoo:successor", "zoo:duplicate"]
PARTS = ["input_layernorm", "post_attention_layernorm", "q_proj", "k_proj", "v_proj", "o_proj"]
PARTS += ["gate_proj", "up_proj", "down_proj"]
JUDGE = """
def find(recipe, place):
    slices = recipe.get("slices") or [{"sources": recipe["models"]}]
    value = slices[0]["sources"][place].get("parameters", {}).get("weight", 0.0)
    return value if isinstance(value, float) else value[-1]["value"]


def judge_first(recipe, items):
    return [0.5 if {flat} else 1.0 - abs(find(recipe, 0) - item["x"]) for item in items]


def judge_second(recipe, items):
    return [0.5 if {flat} else 1.0 - abs(find(recipe, -1) - item["x"]) for item in items]
"""


@pytest.fixture
def document(tmp_path: Path) -> MakeDocument:
    """Return make(genome, flat, **search) -> a run whose judges look at recipes only."""
    splits = [name for name in ("search", "validation", "test") for _ in range(4)]
    rows = [{"x": 0.6 + k / 100, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(genome: Document, *, flat: bool = False, **search: Any) -> Document:
        judge = tmp_path / "judge.py"
        judge.write_text(JUDGE.replace("{flat}", str(flat)))
        tasks = [
            {
                "name": name,
                "evaluator": "python_function",
                "data": str(tmp_path / "items.jsonl"),
                "function": f"{judge}:judge_{name}",
                "subject": "recipe",
            }
            for name in ("first", "second")
        ]
        merge = {"merge_method": "task_arithmetic", "base_model": "zoo:base"}
        return {
            "genome": {"models": MODELS[:2], **merge, "own_embeddings": False, **genome},
            "tasks": tasks,
            "search": search,
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
        }

    return make


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def means(folder: Path) -> list[CandidateRow]:
    found = [row for row in rows(folder, "validation") if row.label.startswith("distribution mean")]
    assert all(row.objective is not None for row in found)
    return found


@pytest.mark.parametrize("algorithm", ["cma", "sep_cma", "catcma"])
def test_mean_of_the_best_known_point_where_the_budget_ends_with_them(
    algorithm: str, document: MakeDocument, tmp_path: Path
) -> None:
    made = document({}, algorithm=algorithm, warm_start=True, evaluations=6)
    result = evolve(made, runs=tmp_path)
    assert {row.origin["how"] for row in rows(result.folder, "search")} == {"known"}
    [mean] = means(result.folder)
    assert mean.label == "distribution mean"
    found = {source["parameters"]["weight"] for source in mean.recipe["models"]}
    assert found == {0.7}  # task arithmetic


@pytest.mark.parametrize("restarts", ["ipop", "bipop"])
def test_means_before_and_after_a_restart(
    restarts: str, document: MakeDocument, tmp_path: Path
) -> None:
    options = {"population": 20, "restarts": restarts}
    plateau = 13 * 20  # 10 + 30 · 2 / 20 generations
    made = document({}, flat=True, algorithm="cma", evaluations=plateau + 41, **options)
    result = evolve(made, runs=tmp_path)
    names = ["distribution mean 1", "distribution mean 2"]
    assert [row.label for row in means(result.folder)] == names


def test_mean_of_what_was_cma_and_has_too_many_genes(
    document: MakeDocument, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    genome = {"models": MODELS, "merge_method": "breadcrumbs", "layer_granularity": 1}
    genome |= {"filters": PARTS}
    with caplog.at_level(logging.WARNING):
        result = evolve(document(genome, algorithm="cma", evaluations=50), runs=tmp_path)
    told = [record.message for record in caplog.records if "too many for cma" in record.message]
    assert len(told) == 1
    assert told[0].startswith("432 genes")
    assert len(means(result.folder)) == 1


def test_means_of_all_kernels_of_two_goals(document: MakeDocument, tmp_path: Path) -> None:
    options = {"algorithm": "como_catcma", "evaluations": 90, "population": 6}
    made = document({}, **options) | {"objectives": ["first", "second"]}
    result = evolve(made, runs=tmp_path)
    assert len(means(result.folder)) == 3
    (winner, *_) = rows(result.folder, "test")
    assert min(winner.goals.values()) > 0.9  # the goals do not contradict each other
