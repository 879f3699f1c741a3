"""What travels between processes: frozen, picklable, and ranked without surprises."""

import dataclasses
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.recipe import Recipe, Slice, Source, constant
from evomerge.records import Candidate, Evaluated, Item, Job, JobResult, Outcome

RECIPE = Recipe("linear", (Slice((Source("a", None, (("weight", constant(0.5)),)),)),))
JOB = Job(3, (Candidate("f", RECIPE),), {"task": (0, 2)}, "test", {"key": 0.5}, 7)
RESULT = JobResult(3, (Outcome("f", {"task": {"key": math.inf}}, {"merge": 0.1}, "why"),))


@pytest.mark.parametrize("record", [JOB, RESULT, Item("key", "task", {"prompt": "x"})])
def test_records_survive_the_way_to_a_worker(record: object) -> None:
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize(
    ("record", "field"),
    [(JOB, "items"), (RESULT, "number"), (Evaluated(np.zeros(1), (1.0,)), "objectives")],
)
def test_records_cannot_be_changed(record: object, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{field}'"):
        setattr(record, field, 4)


OBJECTIVES = st.tuples(*[st.floats(allow_nan=True, allow_infinity=False)] * 2)


@given(st.lists(st.tuples(OBJECTIVES, st.sampled_from(["", "it broke"])), min_size=1, max_size=9))
def test_failures_and_nan_never_rank_above_a_number(
    results: list[tuple[tuple[float, float], str]],
) -> None:
    found = [Evaluated(np.zeros(1), objectives, failure=why) for objectives, why in results]
    ordered = sorted(found, key=lambda result: result.rank_key)
    assert all(not math.isnan(value) for result in ordered for value in result.rank_key)
    fine = [
        not result.failure and not any(map(math.isnan, result.objectives)) for result in ordered
    ]
    assert fine == sorted(fine)


def test_a_failure_is_worst_whatever_it_scored() -> None:
    failed, poor = Evaluated(np.zeros(1), (1e9,), failure="killed"), Evaluated(np.zeros(1), (-1e9,))
    assert failed.rank_key < poor.rank_key


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans(), st.booleans()), min_size=2, max_size=9))
def test_raced_out_stands_between_failed_and_finished_whatever_was_estimated(
    results: list[tuple[float, bool, bool]],
) -> None:
    found = [
        Evaluated(np.zeros(1), (score,), failure="no" * failed, raced_out=raced_out)
        for score, failed, raced_out in results
    ]
    ordered = sorted(found, key=lambda result: result.rank_key)
    assert [result.standing for result in ordered] == sorted(result.standing for result in found)
    for lower, upper in pairwise(ordered):
        same = lower.standing == upper.standing
        assert not same or lower.objectives <= upper.objectives


def test_bounds_come_before_the_overall_objective_and_that_before_the_goals() -> None:
    good = Evaluated(np.zeros(1), (0.1, 0.2), overall=0.15)
    better = Evaluated(np.zeros(1), (0.0, 0.9), overall=0.45)
    outside = Evaluated(np.zeros(1), (1.0, 1.0), overall=1.0, violation=0.01)
    further = Evaluated(np.zeros(1), (1.0, 1.0), overall=1.0, violation=0.02)
    ordered = sorted([outside, better, further, good], key=lambda result: result.rank_key)
    assert ordered == [further, outside, good, better]
