"""NSGA-III: directions spread evenly, and a population that follows them."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import hypervolume
from evomerge.records import Evaluated
from evomerge.search.nsga3 import NSGA3, divide_simplex, spread_directions
from evomerge.search.random import RandomSearch
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

# das-dennis directions of pymoo 0.6.2 for three goals and four divisions
FOURTHS = [
    *([0, 0, 4], [0, 1, 3], [0, 2, 2], [0, 3, 1], [0, 4, 0], [1, 0, 3], [1, 1, 2], [1, 2, 1]),
    *([1, 3, 0], [2, 0, 2], [2, 1, 1], [2, 2, 0], [3, 0, 1], [3, 1, 0], [4, 0, 0]),
]
SPACE = SearchSpace([Gene(f"{k}") for k in range(7)])


def dtlz2(x: "Genome") -> tuple[float, float, float]:
    """Deb et al. (2005), turned round: its front is an eighth of the unit sphere."""
    far = 1.0 + float(((x[2:] - 0.5) ** 2).sum())
    one, other = x[0] * math.pi / 2, x[1] * math.pi / 2
    return (
        -far * math.cos(one) * math.cos(other),
        -far * math.cos(one) * math.sin(other),
        -far * math.sin(one),
    )


def spend(searcher: NSGA3 | RandomSearch, evaluations: int) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    while searcher.asked < evaluations:
        points = searcher.ask()
        goals = [dtlz2(point) for point in points]
        searcher.tell([Evaluated(p, g) for p, g in zip(points, goals, strict=True)])
        found += goals
    return found


def test_directions_are_those_of_das_and_dennis() -> None:
    assert (divide_simplex(3, 4) * 4).tolist() == FOURTHS
    assert divide_simplex(2, 0).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(("goals", "count"), [(3, 91), (5, 210), (8, 156), (10, 275), (15, 135)])
def test_there_are_as_many_directions_as_in_table_i_of_the_paper(goals: int, count: int) -> None:
    assert len(spread_directions(goals, count)) == count


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(4, 120))
def test_directions_are_distinct_and_no_more_than_a_population(goals: int, most: int) -> None:
    found = spread_directions(goals, most)
    assert goals <= len(found) <= max(goals, most)
    assert len(np.unique(found.round(12), axis=0)) == len(found)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
    assert (found >= 0.0).all()


def test_three_goals_are_found_better_than_by_chance_and_all_over_the_front() -> None:
    for seed in range(2):
        searcher = NSGA3(SPACE, seed=seed, population=24)
        found, drawn = spend(searcher, 480), spend(RandomSearch(SPACE, seed=seed), 480)
        assert hypervolume(found, [-1.5] * 3) > hypervolume(drawn, [-1.5] * 3) + 0.2
        members = -np.array([member.result.objectives for member in searcher._members])
        assert (members.max(axis=0) > 0.8).all(), "every goal's end is held"
        assert (members.min(axis=1) > 0.3).any(), "and so is the middle"


def test_goals_of_other_units_are_served_alike() -> None:
    plain, scaled = NSGA3(SPACE, seed=3), NSGA3(SPACE, seed=3)
    for _ in range(6):
        for searcher, units in ((plain, [1.0, 1.0, 1.0]), (scaled, [1.0, 64.0, 0.125])):
            points = searcher.ask()
            goals = [tuple(g * u for g, u in zip(dtlz2(p), units, strict=True)) for p in points]
            searcher.tell([Evaluated(p, g) for p, g in zip(points, goals, strict=True)])
    assert [m.place for m in plain._members] == [m.place for m in scaled._members]
