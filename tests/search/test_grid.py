"""Grid search: every point once, in an order drawn by seed; a longer budget begins again."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.search.grid import BATCH, GridSearch
from evomerge.space import Gene, SearchSpace

MIXED = SearchSpace([Gene("a", -1.0, 1.0), Gene("kind", choices=tuple("wxyz")), Gene("b", 0, 6)])


def ask(searcher: GridSearch, evaluations: int) -> list[tuple[Any, ...]]:
    """Return what is asked for in whole batches and a rest, decoded."""
    found: list[tuple[Any, ...]] = []
    while len(found) < evaluations:
        points = searcher.ask(min(searcher.batch, evaluations - len(found)))
        found += [tuple(searcher.space.decode(point).values()) for point in points]
    return found


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    steps=st.integers(2, 4),
    seed=st.integers(0, 2**40),
)
def test_every_point_is_asked_for_once_and_then_all_over_again(
    sizes: list[int], steps: int, seed: int
) -> None:
    """A size of 1 stands for a number."""
    choices = [tuple(range(size)) if size > 1 else () for size in sizes]
    genes = [Gene(f"{k}", choices=several) for k, several in enumerate(choices)]
    searcher = GridSearch(SearchSpace(genes), seed=seed, steps=steps)
    points = math.prod(len(several) or steps for several in choices)
    asked = ask(searcher, points + points // 2)
    assert len(set(asked[:points])) == points
    assert asked[points:] == asked[: points // 2]
    assert searcher.duplicates == points // 2


def test_all_choices_and_both_ends_of_numbers_are_tried() -> None:
    asked = ask(GridSearch(MIXED, steps=3), 3 * 4 * 3)
    assert {values[0] for values in asked} == {-1.0, 0.0, 1.0}
    assert {values[1] for values in asked} == set("wxyz")
    assert {values[2] for values in asked} == {0.0, 3.0, 6.0}
    assert len(set(asked)) == 36


def test_seed_draws_the_order_and_nothing_else() -> None:
    first, again, other = (ask(GridSearch(MIXED, seed=s, steps=3), 36) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert set(first) == set(other)


def test_short_budget_meets_a_fair_sample() -> None:
    """Of 4900 points, 490: about a tenth of those at each of the seven steps."""
    space = SearchSpace([Gene("a"), Gene("b"), Gene("c", choices=tuple(map(str, range(100))))])
    asked = ask(GridSearch(space, seed=3), 490)
    assert len(set(asked)) == 490
    counts = [sum(values[0] == step for values in asked) for step in {v[0] for v in asked}]
    assert len(counts) == 7
    assert all(40 <= count <= 100 for count in counts)


def test_batches_follow_each_other_whatever_was_told() -> None:
    searcher = GridSearch(MIXED, seed=4)
    assert searcher.batch == BATCH
    first = [point.tobytes() for point in searcher.ask()]
    searcher.tell([])
    assert not {point.tobytes() for point in searcher.ask()} & set(first)
    assert searcher.recommend() == []


@pytest.mark.parametrize("steps", [1, 0, -7, 2.0, "3", None, True])
def test_steps_that_make_no_grid_are_refused(steps: Any) -> None:
    with pytest.raises(ValueError, match="grid needs at least 2 steps"):
        GridSearch(MIXED, steps=steps)


def test_too_many_points_are_refused_at_once() -> None:
    many = SearchSpace([Gene(f"{k}") for k in range(10**4)])
    with pytest.raises(ValueError, match=r"a grid of 7 steps has too many points with 10000 genes"):
        GridSearch(many)
    six = SearchSpace([Gene(f"{k}") for k in range(6)])
    assert len(GridSearch(six, steps=10).ask(20)) == 20
    with pytest.raises(ValueError, match="a grid of 11 steps has too many points with 6 genes"):
        GridSearch(six, steps=11)
