"""`evomerge eval`: tables for people, files for programs, one line for what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TASKS = """
tasks:
  - {name: reverse, evaluator: exact_match, data: "zoo:reverse", max_new_tokens: 12}
  - {name: sort, evaluator: exact_match, data: "zoo:sort", max_new_tokens: 12}
items: {test: 20}
"""


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(TASKS)


def test_two_models_stand_side_by_side(evomerge: Run) -> None:
    answer = evomerge("eval", "zoo:reverse", "zoo:sort", "--tasks", "tasks.yml")
    assert answer.code == 0
    titles = [line for line in answer.out.splitlines() if line.rstrip().endswith(")")]
    assert [title.strip() for title in titles] == [
        "All tasks (weighted mean)",
        "reverse (20 items)",
        "sort (20 items)",
    ]
    rows = [line.split() for line in answer.out.splitlines() if "zoo:" in line]
    assert [row[0] for row in rows] == ["zoo:reverse", "zoo:sort"] * 3
    assert all("first" in row for row in rows[::2])
    assert "Holm-corrected over the models" in answer.out
    assert "items 80/80" in answer.err
    assert "Loading weights" not in answer.err


def test_one_model_is_compared_with_nobody(evomerge: Run) -> None:
    answer = evomerge("eval", "zoo:sort", "--run-file", "tasks.yml", "--limit", "5")
    assert answer.code == 0
    assert "sort (5 items)" in answer.out
    assert "won:lost" not in answer.out
    assert "first" not in answer.out


def test_json_of_one_model_is_one_results_file(evomerge: Run, tmp_path: Path) -> None:
    answer = evomerge(
        "eval", "zoo:sort", "-t", "tasks.yml", "-L", "8", "--json", "--output", "found.json"
    )
    document = json.loads(answer.out)
    assert set(document["results"]) == {"reverse", "sort"}
    assert document == json.loads((tmp_path / "found.json").read_text())
    assert answer.err.splitlines()[-1] == "found.json"


def test_files_of_several_models_stand_as_the_harness_has_them(
    evomerge: Run, tmp_path: Path
) -> None:
    answer = evomerge(
        "eval", "zoo:sort", "zoo:base", "-t", "tasks.yml", "-L", "4", "--json", "-o", "found"
    )
    assert [document["model_name"] for document in json.loads(answer.out)] == [
        "zoo:sort",
        "zoo:base",
    ]
    files = sorted((tmp_path / "found").glob("*/results_*.json"))
    assert [file.parent.name for file in files] == ["zoo__base", "zoo__sort"]
    assert json.loads(files[0].read_text())["model_name"] == "zoo:base"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["zoo:sort"], 2, "name at least one task: --tasks arc_easy,piqa or --run-file FILE"),
        (["zoo:sort", "-t", "tasks.yml", "--limit", "0"], 2, "'--limit' / '-L'"),
        (["zoo:sort", "-t", "tasks.yml", "--batch-size", "some"], 2, "or auto, not 'some'"),
        (["zoo:sort", "-t", "tasks.yml", "--batch-size", "0"], 2, "of at least 1, or auto"),
        (["zoo:sort", "-t", "tasks.yml", "--scorer", "mine"], 2, "own or harness, not 'mine'"),
        (["zoo:a", "b", "-t", "x", "-o", "a.json"], 2, "a.json is one file, for one model; 2"),
        (["zoo:sort", "-t", "x", "-o", "tasks.yml"], 2, "--output tasks.yml is a file"),
        (["zoo:sort", "-t", "x", "-o", "tasks.yml/x"], 2, "tasks.yml/x cannot be written"),
        (["zoo:sorts", "-t", "tasks.yml"], 1, "no model 'sorts' (did you mean 'sort'?)"),
        (["zoo:sort", "-t", "nowhere.yml"], 2, "cannot be read: No such file"),
        (["zoo:sort", "-t", "tasks.yml", "--device", "tpu"], 1, "cannot compute on 'tpu'"),
    ],
)
def test_bad_input_is_one_line(
    evomerge: Run, arguments: list[str], code: int, message: str
) -> None:
    answer = evomerge("eval", *arguments)
    assert answer.code == code
    assert message in " ".join(answer.err.replace("│", " ").split())
    assert "Traceback" not in answer.err
    assert not answer.out


def test_what_a_task_of_the_harness_is_measured_by_is_said(evomerge: Run) -> None:
    pytest.importorskip("lm_eval")
    folder = str(Path(__file__).parents[1] / "evaluation" / "tasks")
    answer = evomerge(
        "eval", "zoo:sort", "-t", "yes_no,prose", "--task-search-path", folder, "-L", "4"
    )
    assert "yes_no (4 items, acc,none)" in answer.out
    assert "prose (4 items, word_perplexity_of_documents,none, lower is better)" in answer.out


def test_task_with_a_negative_weight_is_said_to_be_better_when_lower(
    evomerge: Run, tmp_path: Path
) -> None:
    text = TASKS.replace("max_new_tokens: 12}", "max_new_tokens: 12, weight: -1}", 1)
    (tmp_path / "low.yml").write_text(text)
    answer = evomerge("eval", "zoo:sort", "zoo:reverse", "-t", "low.yml", "-L", "4")
    assert "reverse (4 items, lower is better)" in answer.out
    assert "sort (4 items)" in answer.out
    assert "All tasks" not in answer.out


def test_a_group_stands_before_its_members(evomerge: Run) -> None:
    pytest.importorskip("lm_eval")
    folder = str(Path(__file__).parents[1] / "evaluation" / "tasks")
    answer = evomerge(
        *("eval", "zoo:sort", "zoo:base", "-t", "letters", "--task-search-path", folder),
        *("-L", "4", "--batch-size", "2"),
    )
    titles = [line for line in answer.out.splitlines() if line.rstrip().endswith(")")]
    assert [title.strip() for title in titles] == [
        "letters (group of 2 tasks, by size: 8 items, acc,none)",
        "reverse_choice (4 items, acc,none)",
        "yes_no (4 items, acc,none)",
    ]
    assert "Computed in" in answer.out
    assert "warning: batch_size: without effect on the own scorer" in answer.err


def test_table_and_file_agree_on_who_is_better(evomerge: Run) -> None:
    arguments = ("eval", "zoo:reverse", "zoo:sort", "-t", "tasks.yml")
    shown = evomerge(*arguments).out.partition("sort (20 items)")[2]
    row = next(line.split() for line in shown.splitlines() if "zoo:sort" in line)
    document = json.loads(evomerge(*arguments, "--json").out)[1]
    written = document["evomerge"]["tasks"]["sort"]
    assert f"{written['better_by']:+.4f}" in row
    assert f"{written['won']}:{written['lost']}" in row
    assert written["better_by"] > 0
    assert written["won"] > written["lost"]


def test_who_failed_is_told_why_once(evomerge: Run, tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "def judge(model, items):\n"
        "    if 'reverse' in str(model.module.config._name_or_path):\n"
        "        raise RuntimeError('not this [one]')\n"
        "    return [0.5] * len(items)\n"
    )
    task = {"name": "mood", "evaluator": "python_function", "data": "zoo:sort"}
    tasks = [{**task, "function": "judge.py:judge"}]
    (tmp_path / "judged.yml").write_text(json.dumps({"tasks": tasks, "items": {"test": 4}}))
    answer = evomerge("eval", "zoo:sort", "zoo:reverse", "-t", "judged.yml")
    assert answer.out.count("zoo:reverse failed: RuntimeError: not this [one]") == 1
