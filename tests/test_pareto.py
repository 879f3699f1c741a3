"""Fronts, crowding, hypervolume and knee: golden values, and properties against brute force."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.pareto import (
    choose_survivors,
    crowding_distance,
    find_knee,
    hypervolume,
    non_dominated_sort,
    rank_crowded,
)

# drawn at random; fronts, volumes and crowding computed with pymoo 0.6.2, which minimises (its
# crowding is the mean over goals, here it is the sum)
THREE = [
    *([0.63, 0.9, 0.78], [0.23, 0.3, 0.87], [0.01, 0.82, 0.8], [0.47, 0.3, 0.28]),
    *([0.25, 0.45, 0.5], [0.55, 1.0, 0.79], [0.62, 0.99, 0.22], [0.16, 0.61, 0.04]),
    *([0.04, 0.51, 0.47], [0.92, 0.63, 0.51], [0.5, 0.25, 0.01], [0.19, 0.69, 0.2]),
]
TWO = [
    *([0.37, 0.0], [0.83, 0.15], [0.27, 0.88], [0.51, 0.85], [0.64, 0.74]),
    *([0.09, 0.54], [0.51, 0.87], [0.36, 0.6], [0.06, 0.39], [0.32, 0.15]),
]
FOUR = [
    *([0.82, 0.38, 0.98, 0.59], [0.61, 0.64, 0.68, 0.15], [0.44, 0.24, 0.4, 0.1]),
    *([0.97, 0.22, 0.67, 0.3], [0.87, 0.66, 0.13, 0.85], [0.94, 0.9, 0.57, 0.15]),
    *([0.19, 0.93, 0.55, 0.18], [0.88, 0.64, 0.57, 0.38], [0.41, 0.24, 0.04, 0.88]),
]

grid = st.integers(1, 5).flatmap(
    lambda goals: arrays(np.int64, st.tuples(st.integers(1, 12), st.just(goals)),
                         elements=st.integers(0, 4))
)  # fmt: skip
few = settings(deadline=None, max_examples=60)


def dominates(first: np.ndarray, second: np.ndarray, missed: float, others: float) -> bool:
    """Tell whether the first point is better, by the definition."""
    if missed or others:
        return missed < others
    return bool((first >= second).all() and (first > second).any())


@pytest.mark.parametrize(
    ("points", "fronts"),
    [
        (THREE, [0, 0, 0, 1, 1, 0, 0, 2, 1, 0, 1, 1]),
        (TWO, [2, 0, 0, 1, 0, 3, 0, 2, 4, 3]),
    ],
)
def test_fronts_are_those_of_pymoo(points: list[list[float]], fronts: list[int]) -> None:
    assert non_dominated_sort(points).tolist() == fronts


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        (TWO, [0.1, 0.2], 0.3466),
        (THREE, [0.0] * 3, 0.590795),
        (FOUR, [0.0] * 4, 0.29328704),
    ],
)
def test_hypervolume_is_that_of_pymoo(
    points: list[list[float]], reference: list[float], volume: float
) -> None:
    assert hypervolume(points, reference) == pytest.approx(volume, rel=1e-12)


def test_crowding_is_that_of_pymoo() -> None:
    two = [[0.0, 1.0], [0.2, 0.7], [0.5, 0.5], [0.55, 0.3], [1.0, 0.0]]
    assert crowding_distance(two).tolist() == pytest.approx([np.inf, 1.0, 0.75, 1.0, np.inf])
    three = np.column_stack([two, [0.3, 0.6, 0.1, 0.9, 0.2]])
    assert crowding_distance(three).tolist() == pytest.approx([np.inf, 1.75, *[np.inf] * 3])


@few
@given(grid)
def test_hypervolume_counts_the_unit_cells_below_any_point(points: np.ndarray) -> None:
    cells = product(range(4), repeat=points.shape[1])
    covered = sum((np.array(cell) + 1 <= points).all(axis=1).any() for cell in cells)
    assert hypervolume(points, np.zeros(points.shape[1])) == pytest.approx(covered)


@few
@given(grid)
def test_hypervolume_knows_no_order_and_never_shrinks(points: np.ndarray) -> None:
    zero = np.zeros(points.shape[1])
    shuffled = points[np.random.default_rng(len(points)).permutation(len(points))]
    assert hypervolume(shuffled, zero) == pytest.approx(hypervolume(points, zero))
    assert hypervolume(points[:-1], zero) <= hypervolume(points, zero)


@few
@given(grid, st.data())
def test_every_front_is_beaten_by_the_one_before_and_nobody_within(
    points: np.ndarray, data: st.DataObject
) -> None:
    missed = data.draw(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=12, max_size=12))
    missed = missed[: len(points)]
    fronts = non_dominated_sort(points, missed)
    for k, j in product(range(len(points)), repeat=2):
        beats = dominates(points[k], points[j], missed[k], missed[j])
        assert not (beats and fronts[k] >= fronts[j])
    for j in np.flatnonzero(fronts > 0):
        above = np.flatnonzero(fronts == fronts[j] - 1)
        assert any(dominates(points[k], points[j], missed[k], missed[j]) for k in above)


def test_bounds_come_before_goals_and_nan_last() -> None:
    assert non_dominated_sort([[0.0, 0.0], [9.0, 9.0]], [0.0, 0.1]).tolist() == [0, 1]
    assert non_dominated_sort([[0.0, 0.0], [9.0, 9.0]], [0.1, 0.2]).tolist() == [0, 1]
    assert non_dominated_sort([[9.0, 9.0], [0.0, 0.0]], [0.1, 0.1]).tolist() == [0, 0]
    fronts = non_dominated_sort([[1.0, np.nan], [0.0, 0.0], [0.5, 0.5]], [0.0, 3.0, 0.0])
    assert fronts.tolist() == [2, 1, 0]


def test_of_one_front_the_loneliest_has_children() -> None:
    line = [[0.0, 4.0], [1.0, 3.0], [2.5, 1.5], [4.0, 0.0], [0.5, 0.5]]
    fronts, lonely = zip(*rank_crowded(line), strict=True)
    assert fronts == (0.0, 0.0, 0.0, 0.0, -1.0)
    assert lonely == (np.inf, 1.25, 1.5, np.inf, np.inf)
    assert rank_crowded(line, [0.0, 0.2, 0.1, 0.0, 0.0])[1] < rank_crowded(line)[4]


@few
@given(grid, st.integers(0, 14))
def test_survivors_are_whole_fronts_and_the_ends_of_the_last(
    points: np.ndarray, count: int
) -> None:
    kept = choose_survivors(points, count)
    fronts = non_dominated_sort(points)
    assert len(set(kept.tolist())) == len(kept) == min(count, len(points))
    last = fronts[kept].max(initial=-1)
    assert all(fronts[k] >= last for k in set(range(len(points))) - set(kept.tolist()))
    assert fronts[kept].tolist() == sorted(fronts[kept])


def test_the_most_crowded_leaves_first_and_its_neighbours_breathe() -> None:
    line = np.array([[x, 10.0 - x] for x in (0.0, 1.0, 1.1, 1.2, 5.0, 10.0)])
    assert choose_survivors(line, 4).tolist() == [0, 3, 4, 5]


def test_the_knee_bulges_most() -> None:
    front = [[0.0, 1.0], [0.6, 0.8], [0.7, 0.75], [0.9, 0.3], [1.0, 0.0]]
    assert find_knee(front) == 2
    assert find_knee(np.array(front) * [1000.0, 0.1] - 7.0) == 2, "units do not matter"
    assert find_knee([[3.0, 1.0, 2.0]]) == 0
    corners = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert find_knee([*corners, [0.5, 0.5, 0.4]]) == 3


def test_the_knee_of_a_hollow_front_is_its_point_closest_to_the_best_of_all() -> None:
    assert find_knee([[0.0, 1.0], [0.45, 0.45], [0.8, 0.05], [1.0, 0.0]]) == 1
    assert find_knee([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]) == 1


def test_an_empty_front_has_no_volume() -> None:
    assert hypervolume([], [0.0, 0.0]) == 0.0
    assert hypervolume([[1.0, -1.0]], [0.0, 0.0]) == 0.0
    with pytest.raises(ValueError, match="reshape"):
        hypervolume([[1.0, 2.0, 3.0]], [0.0, 0.0])


def test_fronts_of_many_points_take_no_square_of_memory() -> None:
    points = np.random.default_rng(0).random((2000, 3))
    tracemalloc.start()
    fronts = non_dominated_sort(points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(fronts) == 2000
    assert peak < 1e6, "a table of all pairs has 4 million entries"
