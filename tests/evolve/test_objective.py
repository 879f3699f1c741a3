"""What a candidate is worth: a weighted mean, goals of their own, and bounds it keeps to."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evaluation import SPLITS, Evaluator, Task
from evomerge.evolve.objective import Goals, judge, weigh
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


def test_goals_are_objectives_in_the_order_of_the_run() -> None:
    worth = judge(TASKS, {"math": 0.5, "bits": 2.0}, Goals(("bits", "math")))
    assert list(worth.goals.items()) == [("bits", -2.0), ("math", 0.5)]
    assert worth.overall == weigh(TASKS, {"math": 0.5, "bits": 2.0})


@settings(deadline=None, max_examples=80)
@given(st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.floats(-3, 0))
def test_only_what_is_missing_to_a_bound_violates_it(
    math: float, bits: float, least: float, least_bits: float
) -> None:
    goals = Goals(bounds={"math": least, "bits": least_bits})
    worth = judge(TASKS, {"math": math, "bits": bits}, goals)
    assert worth.violation == pytest.approx(max(0, least - math) + max(0, least_bits + bits))
    assert worth.goals == {}
