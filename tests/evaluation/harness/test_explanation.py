"""What is wrong with a task of one's own is said before any model is asked, in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evomerge.errors import EvaluationError
from evomerge.evaluation import build_evaluator

FINE: dict[str, Any] = {
    "task": "mine",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{target}}",
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
ROWS = [{"prompt": f"q{k}", "target": "a", "choices": ["a", "b"]} for k in range(8)]
BROKEN_FILTER = {"name": "f", "filter": [{"function": "regex", "regex_pattern": "("}]}


def make(folder: Path, rows: str = "", functions: str = "", **changes: Any) -> None:
    """Make the task, its YAML changed; a change to None leaves the key out."""
    settings = {key: value for key, value in {**FINE, **changes}.items() if value is not None}
    text = yaml.safe_dump(settings).replace("'!function mine.f'", "!function mine.f")
    (folder / "mine.yaml").write_text(text)
    (folder / "mine.py").write_text(functions)
    (folder / "rows.jsonl").write_text(rows or "".join(f"{json.dumps(row)}\n" for row in ROWS))
    evaluator = build_evaluator(
        "lm_eval", {"task_search_path": [str(folder)], "metric": None}, "mine"
    )
    evaluator.documents()


def test_what_is_right_is_made(tmp_path: Path) -> None:
    make(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"test_split": "tset"}, "no split 'tset'"),
        ({"doc_to_text": None}, "it has no doc_to_text"),
        ({"doc_to_target": None}, "it has no doc_to_target"),
        ({"dataset_path": None}, "it has no dataset_path"),
        ({"dataset_kwargs": None}, "names no data_files"),
        ({"output_type": "multiple_choice"}, "it has no doc_to_choice"),
        ({"metric_list": [{"metric": "exact_match", "aggregation": "maen"}]}, "does not know"),
        ({"num_fewshot": -1}, "num_fewshot is -1"),
        ({"filter_list": [BROKEN_FILTER]}, "unterminated subpattern"),
        ({"rows": "\n"}, "rows.jsonl is empty"),
        ({"rows": "null\n{}\n"}, "rows.jsonl begins with null"),
        ({"rows": "hello\n"}, "JSON parse error"),
    ],
)
def test_fault_is_named(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EvaluationError, match=complaint) as told:
        make(tmp_path, **changes)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return None", "doc_to_text gives None"),
        ("return 7 if row['prompt'] == 'q5' else 'x'", "doc_to_text gives 7"),
        ("return 1 / (row['prompt'] != 'q5') and 'x'", "ZeroDivisionError"),
    ],
)
def test_function_that_fails_for_any_document(tmp_path: Path, body: str, complaint: str) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        make(tmp_path, functions=f"def f(row):\n    {body}\n", doc_to_text="!function mine.f")


def test_function_that_keeps_no_document(tmp_path: Path) -> None:
    functions = "def f(rows):\n    return rows.select([])\n"
    with pytest.raises(EvaluationError, match="split is empty"):
        make(tmp_path, functions=functions, process_docs="!function mine.f")
