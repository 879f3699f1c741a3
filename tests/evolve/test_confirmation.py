"""The exported folder is scored again, and what differs is told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.engine import merge
from evomerge.evolve import evolve
from evomerge.evolve.build import build_tasks
from evomerge.evolve.confirmation import FEW, confirm
from evomerge.evolve.finish import CARD
from evomerge.evolve.live import load_folder
from evomerge.store import open_store

TASKS = Path(__file__).parents[1] / "evaluation" / "tasks"
Document = dict[str, Any]


def make_document(*tasks: Document, **changes: Any) -> Document:
    return {
        "genome": {"models": ["zoo:reverse", "zoo:sort"], "merge_method": "linear"},
        "tasks": list(tasks),
        "items": {"search": 6, "validation": 6, "test": 24},
        "executor": {"name": "local", "threads": 1},
        **changes,
    }


REVERSE = {"name": "reverse", "evaluator": "exact_match", "data": "zoo:reverse"}
CHOICE = {"name": "reverse_choice", "task_search_path": [str(TASKS)]}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the zoo's reverse model, as a merge."""
    recipe = {"models": [{"model": "zoo:reverse"}], "merge_method": "passthrough"}
    return merge(recipe, tmp_path_factory.mktemp("run") / "best")


def score(config: RunConfig, folder: Path) -> dict[str, dict[str, float]]:
    model, found = load_folder(folder, "cpu"), {}
    for task in build_tasks(config):
        items = task.items["test"]
        scores = task.evaluator.evaluate(model, items)
        found[task.name] = {item.key: s for item, s in zip(items, scores, strict=True)}
    return found


def test_a_folder_that_is_the_winner_is_said_to_be(exported: Path) -> None:
    config = parse_config(make_document({**REVERSE, "max_new_tokens": 12}))
    told, suspicious = confirm(exported, config, score(config, exported))
    assert told == (
        "The exported folder, loaded afresh by transformers, gives the same scores on all "
        f"{FEW} test items it was asked."
    )
    assert suspicious == ()


def test_the_harness_itself_agrees_with_the_scorer_of_the_run(exported: Path) -> None:
    config = parse_config(make_document(CHOICE, {**REVERSE, "max_new_tokens": 12}))
    known = score(config, exported)
    told, suspicious = confirm(exported, config, known)
    assert told.startswith(
        "lm-evaluation-harness itself, asked about the exported folder, gives the same scores on "
        f"all {len(known['reverse_choice'])} test items it was asked. The exported folder, loaded"
    )
    assert suspicious == ()


def test_a_folder_that_scores_otherwise_is_suspicious(exported: Path) -> None:
    config = parse_config(make_document({**REVERSE, "max_new_tokens": 12}))
    known = score(config, exported)
    turned = {"reverse": {key: 1.0 - value for key, value in known["reverse"].items()}}
    told, suspicious = confirm(exported, config, turned)
    assert told.endswith(f"differs on {FEW} (reverse) of {FEW} test items it was asked.")
    assert suspicious == (
        f"the exported folder scores otherwise on {FEW} of {FEW} items of reverse",
    )


def test_one_near_tie_is_told_and_not_suspicious(exported: Path) -> None:
    config = parse_config(make_document(CHOICE))
    known = score(config, exported)
    scores = known["reverse_choice"]
    first = next(iter(scores))
    told, suspicious = confirm(
        exported, config, {"reverse_choice": {**scores, first: 1.0 - scores[first]}}
    )
    assert f"differs on 1 (reverse_choice) of {len(scores)} test items" in told
    assert suspicious == ()


def test_a_folder_that_cannot_be_loaded_costs_nobody_the_run(
    exported: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(exported, tmp_path / "broken")
    (broken / "config.json").write_text("{}")
    config = parse_config(make_document({**REVERSE, "max_new_tokens": 12}))
    told, suspicious = confirm(broken, config, {"reverse": {}})
    assert told.startswith("The exported folder could not be scored again: transformers cannot")
    assert suspicious == ("the exported folder could not be checked",)


def test_where_only_recipes_were_judged_there_is_nothing_to_check(tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("def judge(recipe, items):\n    return [1.0] * len(items)\n")
    task = {
        "name": "near",
        "evaluator": "python_function",
        "data": "zoo:reverse",
        "function": f"{judge}:judge",
        "subject": "recipe",
    }
    assert confirm(tmp_path, parse_config(make_document(task)), {}) == ("", ())


@pytest.mark.slow
def test_verdict_and_model_card_tell_of_the_check(tmp_path: Path) -> None:
    document = make_document(
        {**REVERSE, "max_new_tokens": 12},
        name="checked",
        search={"evaluations": 2, "algorithm": "random"},
        finalists=1,
    )
    result = evolve(document, runs=tmp_path)
    assert "gives the same scores on all 16 test items" in result.verdict.check
    assert result.verdict.sentence.endswith(result.verdict.check)
    assert result.best is not None
    card = (result.best / CARD).read_text()
    assert card.count(result.verdict.sentence) == 1
    with open_store(result.folder) as store:
        run = store.run()
    assert run is not None
    assert json.loads(json.dumps(run.verdict))["check"] == result.verdict.check
