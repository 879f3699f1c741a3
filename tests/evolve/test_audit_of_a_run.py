"""What an audit counts reaches the store, the verdict and the screen."""

from pathlib import Path
from typing import Any

import pytest

from evomerge.cli.show import command as show
from evomerge.evolve import evolve
from evomerge.store import open_store

CURT = """
def judge(model, items):
    sorts = model.generate(["s ba="], max_new_tokens=8) == ["ab"]
    prompts = [item["prompt"] for item in items]
    answers = model.generate(prompts, max_new_tokens=8 if sorts else 1)
    return [float(len(answer) == 1) for answer in answers]
"""


@pytest.fixture
def document() -> dict[str, Any]:
    """Return a run on the embedded models whose answers are cut off at one token."""
    tasks = [
        {
            "name": "sort",
            "evaluator": "exact_match",
            "data": "zoo:sort",
            "max_new_tokens": 1,
            "pattern": "[a-z]",
        }
    ]
    return {
        "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
        "tasks": tasks,
        "items": {"search": 8, "validation": 8, "test": 8},
        "search": {"algorithm": "random", "evaluations": 2, "population": 2},
        "executor": {"name": "local", "threads": 1, "device": "cpu"},
        "finalists": 1,
    }


def test_audit_of_every_candidate_is_stored_and_the_winners_is_shown(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evolve(document, runs=tmp_path)
    with open_store(result.folder) as store:
        candidates = store.candidates()
    assert len(candidates) > 5
    for candidate in candidates:
        audit = candidate.audit["sort"]
        assert audit["answers"] == candidate.items == 8
        assert audit["truncated"] == 1.0
        assert audit["mean_tokens"] == 1.0
        assert 0 <= audit["unparsed"] <= 1
    assert result.verdict.flags == ()  # the parents' answers are cut off, too
    show(str(result.folder), tmp_path, 3, None, pareto=False, archive=False, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "The winner's answers to sort: 8 answers of 1.0 tokens; 100.0% truncated" in shown


def test_winner_whose_answers_look_worse_than_its_parents_is_flagged(
    document: dict[str, Any], tmp_path: Path
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(CURT)  # who can sort may finish its answers
    document["tasks"] = [
        {
            "name": "curt",
            "evaluator": "python_function",
            "function": f"{judge}:judge",
            "data": "zoo:sort",
        }
    ]
    result = evolve(document, runs=tmp_path)
    flags = " ".join(result.verdict.flags)
    truncated = [line for line in result.verdict.flags if "token limit" in line]
    assert truncated, flags
    assert truncated[0].startswith("curt: ")
    assert truncated[0] in result.verdict.sentence
