"""The test items stay unread until the search is over."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.evolve import evolve
from evomerge.evolve.baselines import parent_trials
from evomerge.evolve.build import Setup
from evomerge.evolve.candidate import make_work
from evomerge.evolve.trials import Trials
from evomerge.executors import EXECUTORS
from evomerge.records import Candidate, Job
from evomerge.store import open_store

MakeModel = Callable[..., Path]

SPY = """
import gc
import json
from evomerge.records import Item


def judge(recipe, items):
    asked = sorted({item["split"] for item in items})
    found = [thing for thing in gc.get_objects() if type(thing) is Item and thing.task == "spied"]
    held = sorted({item.fields["split"] for item in found})
    with open(LOG, "a") as log:
        log.write(json.dumps([asked, held]) + "\\n")
    return [float(item["x"]) for item in items]
"""


@pytest.fixture
def config(tmp_path: Path, tiny_llama: MakeModel) -> RunConfig:
    """Return a run whose judge searches its process's memory for items."""
    splits = ["search"] * 4 + ["validation"] * 4 + ["test"] * 4
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = tmp_path / "spy.py"
    judge.write_text(f"LOG = {str(tmp_path / 'log')!r}\n{SPY}")
    task = {
        "name": "spied",
        "evaluator": "python_function",
        "data": str(tmp_path / "items.jsonl"),
        "function": f"{judge}:judge",
        "subject": "recipe",
    }
    genome = {"models": [str(tiny_llama(1)), str(tiny_llama(2))], "merge_method": "linear"}
    return parse_config(
        {"genome": genome, "tasks": [task], "search": {"evaluations": 8, "population": 4}}
    )


def read_log(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def job(config: RunConfig, split: str) -> Job:
    candidate = Candidate("parent", parent_trials(config.genome)[0].recipe)
    return Job(0, (candidate,), {"spied": (0, 1, 2, 3)}, split)


def test_no_worker_of_the_search_holds_a_test_item(config: RunConfig, tmp_path: Path) -> None:
    settings = config.executor.model_copy(update={"name": "processes", "workers": 1})
    evolve(config.model_copy(update={"executor": settings}), runs=tmp_path)
    log = read_log(tmp_path)
    before = [held for asked, held in log if asked != ["test"]]
    after = [held for asked, held in log if asked == ["test"]]
    assert len(before) > 8
    assert all("test" not in held for held in before)
    assert all("test" in held for held in after)  # the spy does see items that are there
    assert after
    assert [asked for asked, _ in log[-len(after) :]] == [["test"]] * len(after)


def test_who_has_read_the_test_items_searches_no_more(config: RunConfig) -> None:
    work = make_work(Setup(config, "cpu", 1))
    for split in ("search", "validation", "test", "test"):
        assert not work(job(config, split)).outcomes[0].failure
    refused = work(job(config, "search")).outcomes[0]
    assert "nothing can be searched any more" in refused.failure
    assert not refused.scores


@pytest.mark.parametrize(
    ("stage", "split"), [("search", "test"), ("validation", "test"), ("test", "search")]
)
def test_only_the_test_asks_for_test_items(
    config: RunConfig, tmp_path: Path, stage: str, split: str
) -> None:
    from evomerge.evolve.build import WORK, build_tasks

    executor = EXECUTORS.get("local")(WORK, Setup(config, "cpu", 1))
    with open_store(tmp_path / "run", write=True) as store:
        trials = Trials(store, build_tasks(config), executor, {}, 0)
        with pytest.raises(ValueError, match=f"the {stage} stage may not read the {split} items"):
            trials.run(stage, 0, parent_trials(config.genome), split)
        assert store.candidates() == []


@pytest.mark.parametrize("kind", ["BaseException", "GeneratorExit", "SystemExit", "MemoryError"])
def test_whatever_a_judge_raises_is_its_candidates_failure(
    kind: str, config: RunConfig, tmp_path: Path
) -> None:
    (tmp_path / "spy.py").write_text(f"def judge(recipe, items):\n    raise {kind}('a\\nb')\n")
    (outcome,) = make_work(Setup(config, "cpu", 1))(job(config, "search")).outcomes
    assert outcome.failure == f"{kind}: a"
