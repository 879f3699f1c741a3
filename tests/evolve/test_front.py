"""The front of a run: of stored rows alone, equal merges once, with its knee and its progress."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evolve.front import (
    choose_compromise,
    choose_spread,
    find_front,
    measure_progress,
)
from evomerge.pareto import hypervolume, non_dominated_sort
from evomerge.records import Evaluated
from evomerge.store import CandidateRow

level = st.integers(0, 5).map(float)
worth = st.tuples(level, level, st.sampled_from([0.0, 0.0, 0.5]))


def make_row(
    number: int, goals: tuple[float, ...], *, violation: float = 0.0, round_: int = 0,
    state: str = "done", merge: int | None = None,
) -> CandidateRow:  # fmt: skip
    return CandidateRow(
        number=number,
        round=round_,
        stage="search",
        label=f"candidate {number}",
        genome=None,
        recipe={},
        fingerprint=f"merge {number if merge is None else merge}",
        state=state,
        objective=float(np.mean(goals)) if goals else None,
        items=8,
        error="",
        seconds={},
        goals=dict(zip("ab", goals, strict=False)),
        violation=violation,
    )


def test_the_front_is_sorted_by_its_first_goal_and_knows_its_knee() -> None:
    goals = [(0.0, 1.0), (1.0, 0.0), (0.7, 0.8), (0.5, 0.5)]
    front = find_front([make_row(k, found) for k, found in enumerate(goals)])
    assert front is not None
    assert front.goals == ("a", "b")
    assert [row.number for row in front.rows] == [1, 2, 0]
    assert front.rows[front.knee].number == 2


def test_what_was_not_measured_stands_on_no_front() -> None:
    states = [make_row(k, (9.0, 9.0), state=s) for k, s in enumerate(["asked", "failed"])]
    assert find_front([*states, make_row(2, ())]) is None
    front = find_front([*states, make_row(3, (1.0, 1.0)), make_row(4, (1.0, 1.0))])
    assert front is not None
    assert [row.number for row in front.rows] == [3], "equal ones stand there once"


@settings(deadline=None, max_examples=60)
@given(st.lists(worth, min_size=1, max_size=10))
def test_nobody_on_the_front_is_dominated(drawn: list[tuple[float, float, float]]) -> None:
    rows = [make_row(k, found[:2], violation=found[2]) for k, found in enumerate(drawn)]
    front = find_front(rows)
    assert front is not None
    for row in front.rows:
        for other in rows:
            pair = [[*one.goals.values()] for one in (row, other)]
            assert non_dominated_sort(pair, (row.violation, other.violation))[0] == 0
    assert front.rows[front.knee] in front.rows
    assert choose_spread(rows, len(rows))[0].number in {row.number for row in front.rows}


def test_of_a_front_that_is_too_large_its_ends_and_its_spread_are_kept() -> None:
    rows = [make_row(k, (k / 10, 1 - k / 10)) for k in (0, 1, 2, 3, 8, 10)]
    assert [row.number for row in choose_spread(rows, 4)] == [0, 3, 8, 10]


def evaluated(
    *goals: float, overall: float = 0.0, failure: str = "", missed: float = 0.0
) -> Evaluated:
    return Evaluated(np.zeros(1), goals, failure=failure, overall=overall, violation=missed)


def test_the_compromise_keeps_its_bounds_and_did_not_fail() -> None:
    ends = [evaluated(0.0, 1.0), evaluated(1.0, 0.0)]
    middle = evaluated(0.8, 0.8)
    assert choose_compromise([*ends, middle]) == 2
    assert choose_compromise([evaluated(2.0, 2.0, missed=0.1), *ends, middle]) == 3
    assert choose_compromise([evaluated(math.nan, math.nan, failure="why"), middle]) == 1


def test_of_equal_compromises_the_better_mean_wins() -> None:
    assert choose_compromise([evaluated(0.0, 1.0), evaluated(1.0, 0.0, overall=0.6)]) == 1


def test_progress_is_measured_in_the_parents_box() -> None:
    parents = [make_row(0, (0.2, 0.9)), make_row(1, (0.6, 0.1))]
    rows = [
        make_row(2, (0.4, 0.5), round_=0),  # half of both ways: a quarter of the box
        make_row(3, (0.6, 0.9), round_=1),
        make_row(4, (9.0, 9.0), round_=2, violation=0.1),
        make_row(5, (0.0, 9.0), round_=3),
    ]
    assert measure_progress(parents, rows) == pytest.approx([0.25, 1.0, 1.0, 1.0])
    assert measure_progress([], rows) == []


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(level, level, st.integers(0, 3)), min_size=1, max_size=12))
def test_progress_never_turns_back(drawn: list[tuple[float, float, int]]) -> None:
    parents = [make_row(0, (1.0, 4.0)), make_row(1, (3.0, 2.0))]
    rows = [make_row(k, (a, b), round_=r) for k, (a, b, r) in enumerate(drawn)]
    volumes = measure_progress(parents, rows)
    assert volumes == sorted(volumes)
    assert len(volumes) == len({r for _, _, r in drawn})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(level, level), min_size=1, max_size=10))
def test_the_knee_that_is_shown_is_the_one_that_wins(drawn: list[tuple[float, float]]) -> None:
    front = find_front([make_row(k, found) for k, found in enumerate(drawn)])
    results = [evaluated(*found, overall=float(np.mean(found))) for found in drawn]
    assert front is not None
    assert front.rows[front.knee].number == choose_compromise(results)


def draw_search(goals: int, count: int) -> tuple[list[CandidateRow], list[CandidateRow]]:
    """Return parents, and candidates of which most are on the front."""
    points = np.random.default_rng(0).normal(0.5, 0.1, (count, goals)).clip(0.0, 1.0)
    names = [f"goal {k}" for k in range(goals)]
    found = [
        replace(make_row(k, (0.5,), round_=k // 20), goals=dict(zip(names, point, strict=True)))
        for k, point in enumerate(points.tolist())
    ]
    ends = [replace(make_row(k, (0.5,)), goals=dict.fromkeys(names, float(k))) for k in (0, 1)]
    return ends, found


def test_progress_with_many_goals_is_quick_and_an_estimate() -> None:
    parents, rows = draw_search(7, 240)
    start = time.process_time()
    volumes = measure_progress(parents, rows)
    assert time.process_time() - start < 5.0, "it took half a minute"
    assert volumes == sorted(volumes)
    few = rows[:8]
    points = np.array([[*row.goals.values()] for row in few])
    exact = hypervolume(points, np.zeros(7))
    assert measure_progress(parents, few) == pytest.approx([exact], rel=0.1)


def test_a_front_that_stays_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def count(points: np.ndarray, reference: np.ndarray) -> float:
        measured.append(len(points))
        return hypervolume(points, reference)

    monkeypatch.setattr("evomerge.evolve.front.hypervolume", count)
    parents = [make_row(0, (0.0, 1.0)), make_row(1, (1.0, 0.0))]
    rows = [make_row(k, (0.9, 0.9) if k in (0, 5) else (0.1, 0.1), round_=k) for k in range(9)]
    assert measure_progress(parents, rows) == pytest.approx([0.81] * 9)
    assert measured == [1]
    assert measure_progress(parents, []) == []
