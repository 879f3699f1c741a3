"""One sign everywhere: positive is better, whichever way a task's scores go."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evaluation import Evaluator, Task
from evomerge.evolve.measurement.standings import stand
from evomerge.records import Item

SCORES = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=12)


class Told(Evaluator):
    """Scores that are known already, better one way or the other."""

    def __init__(self, higher_is_better: bool) -> None:
        self.higher_is_better = higher_is_better

    def _score(self, subject: object, items: Sequence[Item]) -> list[float]:
        raise NotImplementedError("scores are known already; nothing is asked")


def task(name: str, *, higher: bool, weight: float = 1.0) -> Task:
    return Task(name, Told(higher), {}, weight, name)


def scores(values: Sequence[float]) -> dict[str, float]:
    return {str(place): value for place, value in enumerate(values)}


@given(SCORES, st.booleans())
@settings(deadline=None, max_examples=25)
def test_positive_is_better_whichever_way_scores_go(
    pairs: list[tuple[float, float]], higher: bool
) -> None:
    first, second = zip(*pairs, strict=True)
    entries = [("first", {"a": scores(first)}), ("second", {"a": scores(second)})]
    found = stand([task("a", higher=higher)], entries)[1]
    sign = 1 if higher else -1
    assert found.score is not None
    assert found.score.mean == pytest.approx(sum(second) / len(second))
    expected = sign * (sum(second) - sum(first)) / len(first)
    assert found.better_by == pytest.approx(expected, abs=1e-12)
    assert found.won == sum(sign * b > sign * a for a, b in pairs)
    assert found.lost == sum(sign * b < sign * a for a, b in pairs)


@given(SCORES)
@settings(deadline=None, max_examples=15)
def test_tasks_that_are_all_better_when_lower_have_a_mean_in_their_own_unit(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = zip(*pairs, strict=True)
    tasks = [task("a", higher=False, weight=3.0), task("b", higher=False)]
    entries = [
        ("first", {"a": scores(first), "b": scores(second)}),
        ("second", {"a": scores(second), "b": scores(first)}),
    ]
    one, two = stand(tasks, entries)
    means = [sum(values) / len(values) for values in (first, second)]
    assert one.score is not None
    assert one.score.mean == pytest.approx((3 * means[0] + means[1]) / 4, abs=1e-12)
    assert one.score.low is not None
    assert one.score.high is not None
    assert one.score.low - 1e-9 <= one.score.mean <= one.score.high + 1e-9
    assert two.better_by == pytest.approx((means[0] - means[1]) / 2, abs=1e-12)


def test_who_failed_has_no_standing_but_a_reason() -> None:
    known = {"a": scores([0.0, 1.0])}
    first, failed, third = stand(
        [task("a", higher=True)], [("first", known), ("second", "it broke"), ("third", known)]
    )
    assert (failed.score, failed.better_by, failed.failure) == (None, None, "it broke")
    assert (first.better_by, third.better_by, third.p_value) == (None, 0.0, 1.0)
