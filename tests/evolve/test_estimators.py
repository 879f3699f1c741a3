"""Estimates of dropped candidates: exact where nothing is left, fair where little was met."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.config import parse_config
from evomerge.engine import Models
from evomerge.evaluation import Evaluator, Task
from evomerge.evolve import evolve, resume
from evomerge.evolve.build import build_executor, build_tasks
from evomerge.evolve.estimators import Abilities, Leads, find_known, make_estimator
from evomerge.evolve.racing import draw_items
from evomerge.evolve.trials import Trials
from evomerge.records import Item
from evomerge.store import RACED_OUT, CandidateRow, open_store

MakeModel = Callable[..., Path]
Scores = dict[str, dict[str, float]]
KINDS = pytest.mark.parametrize("kind", [Leads, Abilities])


class Given(Evaluator):
    """Scores that stand in the items."""

    def _score(self, subject: Any, items: Any) -> list[float]:
        del subject
        return [item.fields["score"] for item in items]


def make_tasks(*sizes: int) -> list[Task]:
    items = {
        name: tuple(Item(f"{name}{k}", name, {}) for k in range(size))
        for name, size in zip("abc", sizes, strict=False)
    }
    return [Task(name, Given(), {"search": found}, 1.0, name) for name, found in items.items()]


def answer(tasks: list[Task], rng: np.random.Generator, chance: np.ndarray[Any, Any]) -> Scores:
    drawn = iter((rng.random(len(chance)) < chance).astype(float))
    return {t.name: {item.key: float(next(drawn)) for item in t.items["search"]} for t in tasks}


def objective(tasks: list[Task], scores: Scores) -> float:
    return float(np.mean([t.direction * np.mean(list(scores[t.name].values())) for t in tasks]))


@KINDS
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), minimise=st.booleans(), scale=st.sampled_from([1.0, 30.0]))
def test_all_items_met_leave_nothing_to_estimate(
    kind: type[Leads], seed: int, minimise: bool, scale: float
) -> None:
    tasks, rng = make_tasks(9, 6), np.random.default_rng(seed)
    tasks[1] = replace(tasks[1], minimise=minimise)
    found = [answer(tasks, rng, np.full(15, 0.6)) for _ in range(4)]
    found = [{n: {k: scale * v for k, v in s.items()} for n, s in f.items()} for f in found]
    estimate = kind(tasks, found[:3]).objective(found[3])
    assert estimate == pytest.approx(objective(tasks, found[3]))


@KINDS
def test_a_twin_of_the_best_known_is_recognised_by_a_part_of_its_answers(kind: type[Leads]) -> None:
    tasks, rng = make_tasks(60, 60), np.random.default_rng(1)
    best = answer(tasks, rng, np.full(120, 0.8))
    met = {name: dict(list(scores.items())[:8]) for name, scores in best.items()}
    estimate = kind(tasks, [best]).objective(met)
    assert abs(objective(tasks, met) - objective(tasks, best)) > 0.03
    assert estimate == pytest.approx(objective(tasks, best), abs=0.03)


@KINDS
def test_known_models_halve_the_error_of_few_answers(kind: type[Leads]) -> None:
    tasks, rng = make_tasks(150, 50), np.random.default_rng(3)
    ease = rng.choice([0.05, 0.5, 0.95], 200)
    known = [answer(tasks, rng, ease) for _ in range(12)]
    estimator, errors = kind(tasks, known), []
    for _ in range(120):
        scores = answer(tasks, rng, ease)
        met = {name: dict(rng.permutation(list(s.items()))[:9]) for name, s in scores.items()}
        met = {name: {k: float(v) for k, v in s.items()} for name, s in met.items()}
        truth = objective(tasks, scores)
        errors.append((estimator.objective(met) - truth, objective(tasks, met) - truth))
    ours, plain = np.mean(np.square(errors), axis=0)
    assert ours < 0.5 * plain


@KINDS
def test_a_task_of_which_nothing_was_met_is_taken_as_known_models_did(kind: type[Leads]) -> None:
    tasks = make_tasks(2, 4)
    known = [{"a": {"a0": 1.0, "a1": 0.0}, "b": dict.fromkeys(("b0", "b1", "b2", "b3"), 0.5)}] * 3
    assert kind(tasks, known).objective({"a": {"a0": 1.0, "a1": 1.0}}) == pytest.approx(
        (1.0 + 0.5) / 2, abs=0.02
    )


JUDGE = """
def weight(recipe):
    found = recipe["models"][0].get("parameters", {}).get("weight", 0.3)
    return found if isinstance(found, (int, float)) else found[0]["value"]

def judge(recipe, items):
    return [float(weight(recipe) > item["x"]) for item in items]
"""


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., dict[str, Any]]:
    """Return make(**changes) -> a run in which the greater weight is right on more items."""
    rows = [
        {"x": k * 37 % 60 / 60, "id": f"{split}{k}", "split": split}
        for split in ("search", "validation", "test")
        for k in range(60)
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(JUDGE)
    task = {
        "name": "far",
        "evaluator": "python_function",
        "subject": "recipe",
        "data": str(tmp_path / "items.jsonl"),
        "function": f"{tmp_path / 'judge.py'}:judge",
    }
    genome = {"models": [str(tiny_llama(1)), str(tiny_llama(2))], "merge_method": "linear"}

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "seed": 1,
            "genome": genome,
            "tasks": [task],
            "search": {"evaluations": 24, "population": 6},
            "executor": {"name": "local", "threads": 1},
            **changes,
        }

    return make


def told(folder: Path) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates("search")


def worth(row: CandidateRow) -> float:
    """Return the share of all items that a candidate is right on, dropped or not."""
    weight = row.recipe["models"][0]["parameters"]["weight"][0]["value"]
    return sum(weight > k / 60 for k in range(60)) / 60


@pytest.mark.parametrize("name", ["control_variate", "item_response"])
def test_a_run_tells_fair_estimates_that_do_not_depend_on_timing(
    name: str, document: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    several = {"name": "processes", "workers": 2, "threads": 1}
    evolve(document(name="here", estimator=name), runs=tmp_path)
    evolve(document(name="there", estimator=name, executor=several), runs=tmp_path)
    here, there = (
        [(row.label, row.state, row.objective, row.items) for row in told(tmp_path / run)]
        for run in ("here", "there")
    )
    assert here == there
    dropped = [row for row in told(tmp_path / "here") if row.state == RACED_OUT]
    assert len(dropped) > 4
    truth = np.array([worth(row) for row in dropped])
    estimates = np.array([row.objective for row in dropped], float)
    assert np.abs(estimates - truth).mean() < 0.05
    assert np.corrcoef(estimates, truth)[0, 1] > 0.9


def test_an_interrupted_run_tells_the_same_estimates(
    document: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evolve(document(estimator="item_response"), runs=tmp_path / "whole")
    record, calls = Trials._record, [0]

    def stop(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 16:
            raise KeyboardInterrupt
        return record(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trials, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            evolve(document(estimator="item_response"), runs=tmp_path)
    resume("run", runs=tmp_path)
    whole, resumed = (
        [(row.label, row.fingerprint, row.objective) for row in told(folder)]
        for folder in (tmp_path / "whole" / "run", tmp_path / "run")
    )
    assert resumed == whole


def test_known_are_the_parents_and_earlier_candidates_that_met_all_items(
    document: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    evolve(document(name="run"), runs=tmp_path)
    config = parse_config(document())
    with open_store(tmp_path / "run", write=True) as store, build_executor(config) as executor:
        marks = Models().fingerprints(config.genome.models)
        trials = Trials(store, build_tasks(config), executor, marks, 1)
        items = draw_items(trials.tasks, "search")
        search = store.candidates("search")
        for round_ in range(4):
            earlier = {r.fingerprint for r in search if r.round < round_ and r.state == "done"}
            own = {r.fingerprint for r in search if r.round == round_}
            parents = {r.fingerprint for r in store.candidates("probe")}
            found = find_known(trials, round_, items)
            assert len(found) == len((earlier - own) | parents)
            assert all(len(scores["far"]) == 60 for scores in found)
        assert make_estimator("mean", trials, 1, items) is None
