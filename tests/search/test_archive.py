"""The grid: who stays in a cell, where a cell's edges lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.search.archive import find_ranges, read_ranges, sort_in

numbers = st.floats(-5, 5, allow_nan=False)


def test_best_of_a_cell_stays_and_of_equals_the_first() -> None:
    quality = np.array([1.0, 3.0, 3.0, 2.0])
    behaviour = np.array([[0.1], [0.2], [0.3], [0.9]])
    assert sort_in(quality, behaviour, [(0.0, 1.0)], 2) == {(0,): 1, (1,): 3}


def test_what_lies_outside_a_range_is_in_the_outermost_cell_and_edges_belong_below() -> None:
    behaviour = np.array([[-3.0], [0.0], [0.25], [0.26], [1.0], [7.0]])
    cells = [
        next(iter(sort_in(np.zeros(1), behaviour[k : k + 1], [(0.0, 1.0)], 4))) for k in range(6)
    ]
    assert cells == [(0,), (0,), (0,), (1,), (3,), (3,)]


def test_first_column_of_quality_decides_before_the_second() -> None:
    quality = np.array([[-1.0, 9.0], [0.0, 1.0], [0.0, 2.0]])
    assert sort_in(quality, np.zeros((3, 1)), [(0.0, 0.0)], 5) == {(0,): 2}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=30))
def test_every_cell_holds_its_best_and_nobody_is_without_a_cell(
    rows: list[tuple[float, float, float]],
) -> None:
    seen = np.array(rows)
    cells = sort_in(seen[:, 0], seen[:, 1:], find_ranges(seen[:, 1:]), 3)
    assert seen[:, 0].max() in [seen[row, 0] for row in cells.values()]
    for row in range(len(seen)):
        [cell] = sort_in(seen[[row], 0], seen[[row], 1:], find_ranges(seen[:, 1:]), 3)
        assert seen[cells[cell], 0] >= seen[row, 0]


@pytest.mark.parametrize("ranges", [[[0.0]], [[1.0, 0.0]], [[0.0, 1.0], [2.0, 2.0]]])
def test_ranges_are_pairs(ranges: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"it needs ranges as \[low, high\], low < high"):
        read_ranges("it", ranges)


@pytest.mark.parametrize("edge", [float("nan"), float("-inf")])
def test_ranges_are_finite(edge: float) -> None:
    with pytest.raises(ValueError, match="low < high, both finite"):
        read_ranges("it", [[edge, 1.0]])


def test_every_axis_has_a_range() -> None:
    with pytest.raises(ValueError, match="expected 2 ranges, one per axis, not 1"):
        sort_in(np.zeros(3), np.zeros((3, 2)), [(0.0, 1.0)], 2)
