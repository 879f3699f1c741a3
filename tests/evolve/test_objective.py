"""What a candidate is worth: a weighted mean, goals of their own, and bounds it keeps to."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evaluation import SPLITS, Evaluator, Task
from evomerge.evolve.objective import Goals, judge, weigh, weigh_items
from evomerge.records import Item


class Judge(Evaluator):
    """Never asked here; only its direction counts."""

    def __init__(self, higher: bool) -> None:
        self.higher_is_better = higher

    def _score(self, subject: object, items: Sequence[Item]) -> Sequence[float]:
        raise NotImplementedError("what was scored is judged here; nothing is scored")


def task(name: str, *, weight: float = 1.0, higher: bool = True) -> Task:
    return Task(name, Judge(higher), dict.fromkeys(SPLITS, ()), weight, name)


TASKS = [task("math", weight=3.0), task("bits", higher=False)]


def test_the_mean_weighs_tasks_and_turns_what_is_better_when_lower() -> None:
    assert weigh(TASKS, {"math": 0.5, "bits": 2.0}) == pytest.approx((3 * 0.5 - 2.0) / 4)
    assert weigh(TASKS, {"math": 0.5}) == 0.5


def test_a_tasks_weight_is_shared_by_its_items() -> None:
    bounded = task("code", weight=0.0)
    scores = {"math": {"a": 0.5, "b": 0.0}, "bits": {"c": 2.0}, "code": {"d": 1.0}}
    weights = weigh_items([*TASKS, bounded], scores)
    assert weights == {"a": 1.5, "b": 1.5, "c": 1.0, "d": 0.0}
    assert weigh_items(TASKS, {"math": {}, "bits": {}}) == {}


def test_goals_are_objectives_in_the_order_of_the_run() -> None:
    worth = judge(TASKS, {"math": 0.5, "bits": 2.0}, Goals(("bits", "math")))
    assert list(worth.goals.items()) == [("bits", -2.0), ("math", 0.5)]
    assert worth.overall == weigh(TASKS, {"math": 0.5, "bits": 2.0})


@settings(deadline=None, max_examples=80)
@given(st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.floats(-3, 0))
def test_only_what_is_missing_to_a_bound_violates_it(
    math: float, bits: float, least: float, least_bits: float
) -> None:
    goals = Goals(bounds={"validation": {"math": least, "bits": least_bits}})
    worth = judge(TASKS, {"math": math, "bits": bits}, goals, "validation")
    assert worth.violation == pytest.approx(max(0, least - math) + max(0, least_bits + bits))
    assert judge(TASKS, {"math": math, "bits": bits}, goals).violation == 0.0, "no other split"
    assert worth.goals == {}


@pytest.mark.parametrize(("right", "violation"), [(14, 0.0), (13, 0.05)])
def test_a_bound_that_is_met_to_the_item_is_kept(right: int, violation: float) -> None:
    least = 16 / 20 - 0.1  # in binary a little more than 14 / 20
    goals = Goals(bounds={"search": {"math": least}})
    worth = judge(TASKS, {"math": right / 20, "bits": 2.0}, goals)
    assert worth.violation == pytest.approx(violation, abs=0.0 if not violation else 1e-12)
