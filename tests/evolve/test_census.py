"""Functions that own their items, in whole runs: what they answer is found out and held to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evaluation import SPLITS
from evomerge.evolve import evolve
from evomerge.store import open_store

JUDGE = """
import torch
from pathlib import Path

WORDS = [f"sort:{a}{b}a=" for a in "abcdef" for b in "ghabcd"]


def confidence(model, tokenizer):
    found = []
    for word in WORDS:
        ids = torch.tensor([tokenizer(word)["input_ids"]])
        with torch.inference_mode():
            found.append(float(model(ids).logits[0, -1].softmax(-1).max()))
    return found


def mean(model, tokenizer):
    found = confidence(model, tokenizer)[:6]
    return {"confidence": sum(found) / 6, "doubt": 1 - sum(found) / 6}


def broken(model, tokenizer):
    raise RuntimeError("no such gpu")
"""
MakeDocument = Callable[..., dict[str, Any]]


@pytest.fixture
def document(tmp_path: Path) -> MakeDocument:
    """Return make(*functions) -> a run on the embedded models."""
    (tmp_path / "judge.py").write_text(JUDGE)

    def make(*functions: str) -> dict[str, Any]:
        return {
            "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
            "tasks": [
                {
                    "name": name,
                    "evaluator": "python_function",
                    "function": f"{tmp_path / 'judge.py'}:{name}",
                }
                for name in functions
            ],
            "search": {"algorithm": "random", "evaluations": 2, "population": 2},
            "executor": {"name": "local", "threads": 1, "device": "cpu"},
            "finalists": 1,
        }

    return make


def test_answers_are_declared_in_the_stored_run_and_divided_into_splits(
    document: MakeDocument, tmp_path: Path
) -> None:
    result = evolve(document("confidence", "mean"), runs=tmp_path)
    with open_store(result.folder) as store:
        run, candidates = store.run(), store.candidates()
    assert run is not None
    by_item, at_once = run.config["tasks"]
    assert (by_item["items"], at_once["metrics"]) == (36, ["confidence", "doubt"])
    met = {c.stage: c.items - 1 for c in candidates}  # one of them is the other task's number
    assert met["search"] + met["validation"] + met["test"] == 36
    assert all(met[split] > 0 for split in SPLITS)
    assert result.verdict.untested == ("mean",)
    assert result.verdict.seen == ("mean",)
    assert "confidence" not in (*result.verdict.untested, *result.verdict.seen)


def test_function_that_fails_on_the_first_model_ends_the_run_before_it_begins(
    document: MakeDocument, tmp_path: Path
) -> None:
    message = r"zoo:sort cannot be evaluated: RuntimeError: no such gpu\. Mend the task"
    with pytest.raises(EvaluationError, match=message):
        evolve(document("broken"), runs=tmp_path)
    assert not (tmp_path / "run" / "store.db").exists()


def test_data_beside_items_of_its_own_and_no_items_at_all_are_told(
    document: MakeDocument, tmp_path: Path
) -> None:
    wanted = document("confidence")
    wanted["tasks"][0]["data"] = "zoo:sort"
    with pytest.raises(EvaluationError, match=r"task confidence: it has items of its own\. Leave"):
        evolve(wanted, runs=tmp_path)
    (tmp_path / "judge.py").write_text("def confidence(subject, items):\n    return [1]\n")
    with pytest.raises(EvaluationError, match=r"task confidence: it has no items\. Say where"):
        evolve(document("confidence"), runs=tmp_path)


def test_declaration_of_the_run_file_is_held_against_every_answer(
    document: MakeDocument, tmp_path: Path
) -> None:
    wanted = document("confidence")
    wanted["tasks"][0]["items"] = 35
    with pytest.raises(EvaluationError, match=r"the function gave 36 scores, not 35\. Return as"):
        evolve(wanted, runs=tmp_path)
