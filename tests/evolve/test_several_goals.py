"""Runs of several goals and under bounds: what they record, whom they choose, what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.engine import Models
from evomerge.errors import ConfigError
from evomerge.evolve import evolve, resume
from evomerge.evolve.baselines import parent_trials
from evomerge.evolve.build import build_executor, build_tasks
from evomerge.evolve.forecast import Forecast
from evomerge.evolve.front import find_front, measure_progress
from evomerge.evolve.trials import Trials
from evomerge.pareto import non_dominated_sort
from evomerge.store import CandidateRow, open_store

MakeModel = Callable[..., Path]
Document = dict[str, Any]

JUDGE = """
def weights(recipe):
    found = [model.get("parameters", {}).get("weight", 0.5) for model in recipe["models"]]
    return [w if isinstance(w, (int, float)) else w[-1]["value"] for w in found]


def low(recipe, items):
    return [1.0 - weights(recipe)[0] ** 2 - item["x"] for item in items]


def high(recipe, items):
    return [1.0 - (1.0 - weights(recipe)[0]) ** 2 - item["x"] for item in items]


def error(recipe, items):
    return [1.0 - score for score in high(recipe, items)]
"""


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., Document]:
    """Return make(**changes) -> a run of two goals that pull one weight apart."""
    (tmp_path / "judge.py").write_text(JUDGE)

    def task(name: str, **more: Any) -> Document:
        splits = ["search"] * 3 + ["validation"] * 3 + ["test"] * 3
        rows = [{"x": k / 100, "of": name, "split": split} for k, split in enumerate(splits)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        found = {"name": name, "evaluator": "python_function", "subject": "recipe"}
        place = {"data": str(tmp_path / f"{name}.jsonl")}
        return {**found, **place, "function": f"{tmp_path / 'judge.py'}:{name}", **more}

    def make(weights: tuple[float, float] = (1.0, 1.0), **changes: Any) -> Document:
        models = [str(tiny_llama(1)), str(tiny_llama(2))]
        second = changes.pop("second", {"name": "high"})
        return {
            "genome": {"models": models, "merge_method": "linear", "normalize": False},
            "tasks": [task("low", weight=weights[0]), task(**second, weight=weights[1])],
            "search": {"algorithm": "nsga2", "evaluations": 24, "population": 8},
            "executor": {"name": "local", "threads": 1},
            "finalists": 3,
            **changes,
        }

    return make


MakeDocument = Callable[..., Document]


def rows(folder: Path, stage: str, round_: int | None = None) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage, round_)


def test_searchers_are_told_how_much_each_item_counts(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "natural_niches", "evaluations": 24}
    config = parse_config(document((2.0, 0.0), search=search, constraints={"high": 0.0}))
    marks = Models().fingerprints(config.genome.models)
    with open_store(tmp_path / "run", write=True) as store, build_executor(config) as executor:
        trials = Trials(store, build_tasks(config), executor, marks, 1)
        result, _ = trials.run("search", 0, parent_trials(config.genome), "search")
    assert result.item_weights.keys() == result.item_scores.keys()
    assert sorted(result.item_weights.values()) == pytest.approx([0.0] * 3 + [2 / 3] * 3)


def test_the_knee_of_the_validated_front_wins(document: MakeDocument, tmp_path: Path) -> None:
    told: list[Forecast] = []
    result = evolve(document(), runs=tmp_path, tell_forecast=told.append)
    validated = rows(result.folder, "validation")
    assert told[0].finalists == len(validated) == 6, "so many finalists for each goal"
    front = find_front(validated)
    assert front is not None
    assert front.goals == ("low", "high")
    winner, *_ = rows(result.folder, "test")
    assert winner.label == front.rows[front.knee].label
    assert f"It is the knee of a front of {len(front.rows)} merges" in result.verdict.sentence
    assert "By goal: low " in result.verdict.tradeoff
    searched = rows(result.folder, "search")
    for finalist in validated:
        mine = next(row for row in searched if row.label == finalist.label)
        rivals = [[*row.goals.values()] for row in searched if row not in validated]
        points = [[*mine.goals.values()]]
        assert sum(non_dominated_sort([*points, rival])[0] for rival in rivals) < 12
    volumes = measure_progress(rows(result.folder, "probe"), searched)
    assert len(volumes) == 3
    assert volumes == sorted(volumes)


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3"])
def test_a_search_that_was_stopped_goes_on_with_the_same_candidates(
    algorithm: str, document: MakeDocument, tmp_path: Path
) -> None:
    class Stopper:
        """Stops in the middle of the third generation."""

        left = 2 + 8 + 8 + 3

        def begin(self, label: str, total: int) -> None:
            """Count on."""

        def advance(self, steps: int = 1, note: str = "") -> None:
            assert note
            self.left -= steps
            if not self.left:
                raise KeyboardInterrupt

        def end(self) -> None:
            """Count on."""

    search = {"algorithm": algorithm, "evaluations": 32, "population": 8}
    wanted = document(search=search, constraints={"high": "parent - 0.5"})
    whole = evolve(wanted, runs=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evolve(wanted, runs=tmp_path / "parts", progress=Stopper())
    parts = resume("run", runs=tmp_path / "parts")
    for stage in ("probe", "search", "validation", "test"):
        first, second = (
            [(r.label, r.genome, r.goals, r.violation, r.origin, r.fingerprint) for r in found]
            for found in (rows(whole.folder, stage), rows(parts.folder, stage))
        )
        assert first == second
    assert whole.verdict.sentence == parts.verdict.sentence


def test_a_bound_keeps_a_search_for_one_goal_from_its_best(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "cma", "evaluations": 60, "population": 6}
    free = evolve(document(search=search, weights=(1.0, 0.01), name="free"), runs=tmp_path)
    bound = {"constraints": {"high": "parent + 0.05"}, "weights": (1.0, 0.0)}
    held = evolve(document(search=search, name="held", **bound), runs=tmp_path)
    low, high = (
        [run.verdict.lines[0].tasks[task].mean for run in (free, held)] for task in ("low", "high")
    )
    assert low[0] > low[1], "what the bound costs"
    assert high[0] < 0.7
    assert high[1] == pytest.approx(0.80 - 0.07, abs=0.06), "the test items cost 0.07"
    assert not held.verdict.missed
    winner, *_ = rows(held.folder, "test")
    [row] = [row for row in rows(held.folder, "validation") if row.label == winner.label]
    assert row.violation == 0.0
    assert not row.goals, "there is one goal only"


def test_parents_are_asked_about_each_split_where_a_bound_hangs_on_them(
    document: MakeDocument, tmp_path: Path
) -> None:
    wanted = document(constraints={"high": "parent - 0.05"}, weights=(1.0, 0.0), search={
        "algorithm": "cma", "evaluations": 12, "population": 6})  # fmt: skip
    result = evolve(wanted, runs=tmp_path)
    best = {
        "search": max(1 - row.violation for row in rows(result.folder, "probe", 0)),
        "validation": max(1 - row.violation for row in rows(result.folder, "probe", 1)),
    }
    assert set(best) == {"search", "validation"}
    assert [row.items for row in rows(result.folder, "probe", 1)] == [6, 6]
    searched, validated = rows(result.folder, "search"), rows(result.folder, "validation")
    # parents score 0.75 less the mean of x, which is 0.01 on search and 0.04 on validation items
    for found, mean in ((searched, 0.01), (validated, 0.04)):
        for row in found:
            low = row.objective or 0.0
            weight = (1.0 - low - mean) ** 0.5
            high = 1.0 - (1.0 - weight) ** 2 - mean
            if weight <= 1.0 and weight > 0.0:
                assert row.violation == pytest.approx(max(0.0, 0.75 - mean - 0.05 - high), abs=1e-6)
    assert "the bound on high" in result.verdict.sentence


def test_a_bound_that_nobody_keeps_is_said_to_be_missed(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "cma", "evaluations": 12, "population": 6}
    result = evolve(document(search=search, constraints={"high": "parent + 3"}), runs=tmp_path)
    assert "On the test items the bound on high does NOT hold" in result.verdict.sentence
    assert result.verdict.missed == ("high",)
    assert min(row.violation for row in rows(result.folder, "search")) > 2.0
    finalists = [row.label for row in rows(result.folder, "validation")]
    least = min(rows(result.folder, "search"), key=lambda row: (row.violation, row.number))
    assert finalists[0] == least.label, "who misses it by least is looked at again"


def test_what_is_better_low_is_bounded_from_above(document: MakeDocument, tmp_path: Path) -> None:
    wanted = document(
        second={"name": "error", "higher_is_better": False},
        constraints={"error": "parent + 0.02"},
        objectives=["error", "low"],
    )
    result = evolve(wanted, runs=tmp_path)
    assert "at most 0." in result.verdict.sentence
    for row in rows(result.folder, "search"):
        assert list(row.goals) == ["error", "low"]
        assert row.violation == pytest.approx(max(0.0, -row.goals["error"] - 0.26 - 0.02), abs=1e-9)


def test_a_searcher_for_one_goal_weighs_them_and_the_front_is_kept(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "cma", "evaluations": 18, "population": 6}
    result = evolve(
        document(search=search, objectives=["high", "low"], weights=(1.0, 3.0)), runs=tmp_path
    )
    for row in rows(result.folder, "search"):
        assert row.objective == pytest.approx((row.goals["low"] + 3 * row.goals["high"]) / 4)
    front = find_front(rows(result.folder, "search"))
    assert front is not None
    assert front.goals == ("high", "low")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "racing: candidates of several goals are compared in each of them, on all items"),
        ({"search": {"algorithm": "cma"}, "constraints": {"low": 0.1}},
         "racing: whether a candidate keeps its bounds is told by all items"),
    ],
)  # fmt: skip
def test_racing_that_was_asked_for_is_refused(
    changes: Document, message: str, document: MakeDocument, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        evolve(document(racing=True, **changes), runs=tmp_path)
    assert not (tmp_path / "run").exists()


def test_members_of_a_suite_may_be_goals_and_others_may_not(
    document: MakeDocument, tmp_path: Path
) -> None:
    tasks = [{"name": "suite", "evaluator": "suite"}]
    wanted = document(tasks=tasks, objectives=["coding", "writeing"])
    with pytest.raises(ConfigError, match=r"objectives\[1\]: the run has no task 'writeing' \(did"):
        evolve(wanted, runs=tmp_path)


PATHS = """
import json


def short(recipe, items):
    return [-float(len(json.dumps(recipe))) / 1000 for item in items]


def foreign(recipe, items):
    return [float(json.dumps(recipe).count("sort")) for item in items]
"""


def test_the_front_of_all_phases_is_looked_at_again(document: MakeDocument, tmp_path: Path) -> None:
    tasks = [
        {**task, "name": name, "function": f"{tmp_path / 'judge.py'}:{name}"}
        for name, task in zip(("short", "foreign"), document()["tasks"], strict=True)
    ]
    (tmp_path / "judge.py").write_text(PATHS)
    genome = {"models": ["zoo:reverse", "zoo:sort"], "space": "data_flow"}
    search = {"algorithm": "nsga2", "evaluations": 24, "population": 6}
    wanted = document(genome=genome, search=search, tasks=tasks)
    (tmp_path / "judge.py").write_text(PATHS)
    result = evolve(wanted, runs=tmp_path)
    with open_store(result.folder) as store:
        found = store.candidates()
    whole = find_front([row for row in found if row.stage == "search"])
    assert whole is not None
    assert len(whole.rows) > 1
    listed = {(*row.goals.values(),) for row in found if row.stage == "validation"}
    assert {(*row.goals.values(),) for row in whole.rows} <= listed
