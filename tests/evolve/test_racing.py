"""Racing within a run: one order for all, fair looks, nothing that depends on timing."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.config import parse_config
from evomerge.engine import Models
from evomerge.errors import ConfigError
from evomerge.evaluation import Evaluator, Task
from evomerge.evolve import evolve, resume
from evomerge.evolve.build import build_executor, build_tasks
from evomerge.evolve.racing import (
    Course,
    Heat,
    draw_items,
    estimate_objective,
    find_race,
    mix,
    settle_racing,
)
from evomerge.evolve.trials import Trial, Trials
from evomerge.recipe import parse_recipe
from evomerge.records import Item, Job, Race
from evomerge.statistics.racing import count_looks, find_drop
from evomerge.store import RACED_OUT, CandidateRow, open_store

MakeModel = Callable[..., Path]
Document = dict[str, Any]


class Given(Evaluator):
    """Scores that stand in the items."""

    def __init__(self, *, per_item: bool = True) -> None:
        self.per_item = per_item

    def _score(self, subject: Any, items: Any) -> list[float]:
        del subject
        return [item.fields["score"] for item in items]


def make_task(name: str, count: int, weight: float = 1.0, *, per_item: bool = True) -> Task:
    items = tuple(Item(f"{name}{k}", name, {}) for k in range(count))
    return Task(name, Given(per_item=per_item), {"search": items}, weight, name)


def keys(task: Task) -> list[str]:
    return [item.key for item in task.items["search"]]


SIZES = st.lists(st.tuples(st.integers(1, 40), st.floats(0.05, 5.0)), min_size=1, max_size=5)


@given(SIZES)
def test_any_beginning_of_the_row_holds_the_tasks_in_proportion_to_their_weights(
    sizes: list[tuple[int, float]],
) -> None:
    items = {str(k): tuple(range(size)) for k, (size, _) in enumerate(sizes)}
    weights = {str(k): weight for k, (_, weight) in enumerate(sizes)}
    row = mix(items, weights)
    assert len(set(row)) == len(row)
    for length in range(1, len(row) + 1):
        for name, weight in weights.items():
            taken = [place for task, place in row[:length] if task == name]
            assert taken == list(range(len(taken))), "a task's items come in their own order"
            assert abs(len(taken) - length * weight / sum(weights.values())) < 2
    assert any(sum(task == name for task, _ in row) == len(items[name]) for name in items)


@settings(deadline=None)
@given(SIZES, st.integers(1, 40), st.integers(1, 20))
def test_legs_hold_every_item_once_and_double_what_was_met_up_to_a_look(
    sizes: list[tuple[int, float]], first: int, every: int
) -> None:
    tasks = [make_task(str(k), size, weight) for k, (size, weight) in enumerate(sizes)]
    items = draw_items(tasks, "search")
    course = Course(tasks, Job(0, (), items, race=Race(0.1, first, every)))
    met = [pair for leg in course.legs for name in leg for pair in ((name, p) for p in leg[name])]
    assert sorted(met) == sorted((name, p) for name in items for p in items[name])
    counts = [sum(map(len, leg.values())) for leg in course.legs]
    ends = [sum(counts[: k + 1]) for k in range(len(counts) - 1)]
    assert all((end - first) % every == 0 for end in ends)
    assert all(2 * sooner <= later < 2 * sooner + every for sooner, later in pairwise(ends))
    assert counts[0] == (first if len(counts) > 1 else sum(size for size, _ in sizes))
    assert counts[-1] > 0


def test_without_a_race_all_items_are_met_at_once() -> None:
    tasks = [make_task("a", 50), make_task("b", 70)]
    items = draw_items(tasks, "search")
    assert Course(tasks, Job(0, (), items)).legs == (items,)


def test_course_sees_the_direction_of_every_task_and_stops_at_its_last_look() -> None:
    tasks = [make_task("a", 8), make_task("b", 8)]
    tasks[1] = Task("b", tasks[1].evaluator, tasks[1].items, 1.0, "b", minimise=True)
    items = draw_items(tasks, "search")
    rival = {f"a{k}": 0.5 for k in range(8)} | {f"b{k}": -0.5 for k in range(8)}
    good = {"a": {f"a{k}": 1.0 for k in range(8)}, "b": {f"b{k}": 0.0 for k in range(8)}}
    bad = {"a": {f"a{k}": 0.0 for k in range(8)}, "b": {f"b{k}": 1.0 for k in range(8)}}
    job = Job(0, (), items, rival_scores=rival, race=Race(0.1, 8, 4))
    for scores, lost in ((good, False), (bad, True)):
        assert Course(tasks, job).is_lost(scores) is lost
    course = Course(tasks, job)
    assert [course.is_lost(good) for _ in course.legs] == [False] * 2


def test_looks_within_a_leg_decide_as_they_would_have_on_their_own() -> None:
    task = make_task("a", 200)
    job = Job(0, (), draw_items([task], "search"), rival_scores=dict.fromkeys(keys(task), 1.0))
    job = replace(job, race=Race(0.1, 20, 10))
    for behind in range(10, 60):
        scores = {"a": {key: float(k >= behind) for k, key in enumerate(keys(task))}}
        differences = [score - 1.0 for score in scores["a"].values()]
        course = Course([task], job)
        lost = [course.is_lost(scores) for _ in course.legs]
        drop = find_drop(differences, count_looks(161, 20, 10), 0.1)
        assert any(lost) is (drop is not None)


def test_rounds_draw_their_own_items_and_the_same_again_when_replayed() -> None:
    tasks = [make_task("a", 100), make_task("b", 30), make_task("c", 20, per_item=False)]
    drawn = [draw_items(tasks, "search", batch=40, seed=3, round_=k) for k in range(5)]
    again = [draw_items(tasks, "search", batch=40, seed=3, round_=k) for k in range(5)]
    assert drawn == again
    assert len({places["a"] for places in drawn}) == 5
    for places in drawn:
        assert len(set(places["a"])) == 40
        assert places["a"] == tuple(sorted(places["a"]))
        assert places["b"] == tuple(range(30))
        assert places["c"] == tuple(range(20)), "one number for all items needs all of them"


def test_estimate_of_a_short_race_takes_out_what_was_easy_about_its_items() -> None:
    task = make_task("a", 200)
    rng = np.random.default_rng(0)
    easy = rng.random(200) < 0.5
    rival = {key: float(e) for key, e in zip(keys(task), easy, strict=True)}
    mine = {key: score * (rng.random() < 0.8) for key, score in rival.items()}
    truth = np.mean(list(mine.values()))
    lucky = [key for key in keys(task)[:60] if rival[key] or rng.random() < 0.3]
    met = {key: mine[key] for key in lucky}
    assert np.mean(list(met.values())) > truth + 0.1
    assert estimate_objective([task], {"a": met}, rival) == pytest.approx(truth, abs=0.05)


def test_estimate_weighs_the_tasks_and_leaves_out_those_of_which_nothing_was_met() -> None:
    tasks = [make_task("a", 4, 3.0), make_task("b", 2, 1.0), make_task("c", 9)]
    tasks[1] = replace(tasks[1], minimise=True)
    rival = {key: 0.0 for task in tasks for key in keys(task)}
    scores = {"a": {"a0": 1.0, "a1": 0.0}, "b": {"b1": 0.25}, "c": {}}
    assert estimate_objective(tasks, scores, rival) == pytest.approx((3 * 0.5 - 0.25) / 4)


CONFIG: Document = {
    "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
    "tasks": [{"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}],
}


@pytest.mark.parametrize(
    ("tasks", "racing", "message"),
    [
        ([make_task("a", 30)], True, r"racing: looks first after 30 items, and a candidate meets"),
        ([make_task("a", 90), make_task("b", 10)], True, "looks first after 30 .* only 21 in prop"),
        ([make_task("a", 5)], {"first": 5}, r"a smaller racing\.first, or racing: false"),
        (
            [make_task("a", 90), make_task("b", 90, per_item=False)],
            True,
            "racing: task b has one number for all its items",
        ),
    ],
)
def test_racing_that_is_impossible_is_refused_when_asked_for_and_left_out_when_not(
    tasks: list[Task], racing: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settle_racing(parse_config({**CONFIG, "racing": racing}), tasks)
    if racing is True:
        settled = settle_racing(parse_config(CONFIG), tasks)
        assert settled.racing is False
        assert find_race(settled) is None


@pytest.mark.parametrize("algorithm", ["map_elites", "natural_niches"])
def test_nothing_is_raced_where_an_archive_wants_whoever_is_unlike_the_best(algorithm: str) -> None:
    config = parse_config({**CONFIG, "search": {"algorithm": algorithm}})
    assert settle_racing(config, [make_task("a", 90)]).racing is False
    with pytest.raises(ConfigError, match=f"racing: {algorithm} compares candidates that met ever"):
        settle_racing(config.model_copy(update={"racing": True}), [make_task("a", 90)])


@pytest.mark.parametrize(("racing", "items"), [(False, 31), (None, 5)])
def test_estimator_is_refused_where_nobody_is_dropped(racing: bool | None, items: int) -> None:
    config = parse_config({**CONFIG, "racing": racing, "estimator": "control_variate"})
    with pytest.raises(ConfigError, match="estimator: it is for what racing drops; leave it out"):
        settle_racing(config, [make_task("a", items)])
    assert settle_racing(config.model_copy(update={"racing": None}), [make_task("a", 31)]).racing


def test_racing_happens_by_default_where_there_are_items_enough() -> None:
    settled = settle_racing(parse_config(CONFIG), [make_task("a", 31)])
    assert find_race(settled) == Race(0.1, 30, 10)
    assert settle_racing(settled, [make_task("a", 31)]) == settled
    off = settle_racing(parse_config({**CONFIG, "racing": False}), [make_task("a", 31)])
    assert find_race(off) is None


JUDGE = """
from pathlib import Path

def weight(recipe):
    found = recipe["models"][0].get("parameters", {}).get("weight", 0.3)
    return found if isinstance(found, (int, float)) else found[0]["value"]

def judge(recipe, items):
    with Path(__file__).with_suffix(".log").open("a") as log:
        log.write(f"{len(items)}\\n")
    return [float(weight(recipe) > item["x"]) for item in items]
"""


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., Document]:
    """Return make(**changes) -> a run in which the greater weight is right on more items."""
    rows = [
        {"x": k % 60 / 60, "split": split, "of": name}
        for name in ("near", "far")
        for split, first in (("search", 0), ("validation", 60), ("test", 120))
        for k in range(first, first + 60)
    ]
    for name in ("near", "far"):
        own = [{**row, "id": f"{name}{k}"} for k, row in enumerate(rows) if row["of"] == name]
        text = "".join(json.dumps(row) + "\n" for row in own)
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "judge.py").write_text(JUDGE)

    def task(name: str) -> Document:
        data, function = str(tmp_path / f"{name}.jsonl"), f"{tmp_path / 'judge.py'}:judge"
        kind = {"evaluator": "python_function", "subject": "recipe"}
        return {"name": name, **kind, "data": data, "function": function}

    def make(**changes: Any) -> Document:
        return {
            "name": "run",
            "seed": 1,
            "genome": {
                "models": [str(tiny_llama(1)), str(tiny_llama(2))],
                "merge_method": "linear",
            },
            "tasks": [task("near"), task("far")],
            "search": {"evaluations": 24, "population": 6},
            "executor": {"name": "local", "threads": 1},
            "finalists": 3,
            **changes,
        }

    return make


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def decisions(folder: Path) -> list[tuple[Any, ...]]:
    with open_store(folder) as store:
        found = store.candidates()
    return [
        (r.stage, r.label, r.fingerprint, r.state, r.objective, r.items, r.rival) for r in found
    ]


def test_hopeless_candidates_meet_few_items_rank_last_and_are_no_finalists(
    document: Callable[..., Document], tmp_path: Path
) -> None:
    evolve(document(), runs=tmp_path)
    search = rows(tmp_path / "run", "search")
    out = [row for row in search if row.state == RACED_OUT]
    done = [row for row in search if row.state == "done"]
    assert len(out) > 5
    assert len(done) > 2
    assert all(30 <= row.items < 120 and row.items % 10 == 0 for row in out)
    assert all(row.items == 120 and not row.rival for row in done)
    labels = [row.label for row in rows(tmp_path / "run", "probe")] + [row.label for row in done]
    assert {row.rival for row in out} <= set(labels)
    best = sorted(done, key=lambda row: (-(row.objective or 0), row.number))
    listed = [row.label for row in rows(tmp_path / "run", "validation")]
    assert listed[:2] == [row.label for row in best[:2]]
    assert not set(listed) & {row.label for row in out}


def test_racing_finds_the_same_winner_for_less(
    document: Callable[..., Document], tmp_path: Path
) -> None:
    spent = {}
    for racing in (True, False):
        (tmp_path / "judge.log").unlink(missing_ok=True)
        result = evolve(document(name=f"run-{racing}", racing=racing), runs=tmp_path)
        scores = [line.overall.mean for line in result.verdict.lines[:1] if line.overall]
        spent[racing] = sum(map(int, (tmp_path / "judge.log").read_text().split())), *scores
    assert spent[True][0] < 0.8 * spent[False][0]
    assert spent[True][1] >= spent[False][1] - 0.1


def test_every_executor_drops_the_same_candidates(
    document: Callable[..., Document], tmp_path: Path
) -> None:
    several = {"name": "processes", "workers": 2, "threads": 1}
    evolve(document(name="local", items={"batch": 25}), runs=tmp_path)
    evolve(document(name="several", items={"batch": 25}, executor=several), runs=tmp_path)
    assert decisions(tmp_path / "local") == decisions(tmp_path / "several")
    assert RACED_OUT in {row.state for row in rows(tmp_path / "local", "search")}


def test_a_merge_that_was_raced_out_is_not_tried_again(
    document: Callable[..., Document], tmp_path: Path
) -> None:
    evolve(document(), runs=tmp_path)
    before = (tmp_path / "judge.log").read_text()
    config = parse_config(document())
    names = config.genome.models
    with open_store(tmp_path / "run", write=True) as store, build_executor(config) as executor:
        [first, *_] = [row for row in store.candidates("search") if row.state == RACED_OUT]
        trials = Trials(store, build_tasks(config), executor, Models().fingerprints(names), 1)
        heat = Heat(draw_items(trials.tasks, "search"), Race(), "someone better")
        again = Trial("again", parse_recipe(dict(first.recipe))[0])
        [result] = trials.run("search", 99, [again], "search", heat)
        [row] = store.candidates("search", 99)
    assert (result.raced_out, result.objectives) == (True, (first.objective,))
    assert (row.state, row.items, row.rival) == (RACED_OUT, first.items, first.rival)
    assert (tmp_path / "judge.log").read_text() == before


def test_with_batches_the_incumbent_meets_every_rounds_items_and_leads_the_short_list(
    document: Callable[..., Document], tmp_path: Path
) -> None:
    evolve(document(items={"batch": 20}, racing=False), runs=tmp_path)
    search, rivals = rows(tmp_path / "run", "search"), rows(tmp_path / "run", "rival")
    assert {row.items for row in [*search, *rivals]} == {40}
    assert [row.round for row in rivals] == [0, 1, 2, 3]
    leader = rivals[0]
    for round_ in range(4):
        assert rivals[round_].fingerprint == leader.fingerprint
        here = [row for row in search if row.round == round_]
        best = max(here, key=lambda row: (row.objective or 0, -row.number))
        leader = best if (best.objective or 0) > (rivals[round_].objective or 0) else leader
    if leader.label.startswith("candidate"):
        assert rows(tmp_path / "run", "validation")[0].label == leader.label


def test_run_that_was_interrupted_while_racing_ends_as_one_that_was_not(
    document: Callable[..., Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evolve(document(items={"batch": 25}), runs=tmp_path / "whole")
    record, calls = Trials._record, [0]

    def stop(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 17:
            raise KeyboardInterrupt
        return record(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trials, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            evolve(document(items={"batch": 25}), runs=tmp_path)
    resume("run", runs=tmp_path)
    assert decisions(tmp_path / "run") == decisions(tmp_path / "whole" / "run")
