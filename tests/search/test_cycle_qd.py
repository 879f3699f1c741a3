"""CycleQD: an archive for every goal, turn and turn about; children of two elites."""

import math

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search.cycle_qd import CycleQD
from evomerge.space import Gene, SearchSpace

SPACE = SearchSpace([Gene("a"), Gene("b"), Gene("seed", choices=tuple(range(16)))])


def tell(searcher: CycleQD, goals: list[tuple[float, ...]], **more: list[float]) -> None:
    points = searcher.ask(len(goals))
    searcher.tell(
        [
            Evaluated(p, goal, **{key: values[k] for key, values in more.items()})  # type: ignore[arg-type]  # numbers
            for k, (p, goal) in enumerate(zip(points, goals, strict=True))
        ]
    )


def test_every_child_is_offered_to_all_archives() -> None:
    searcher = CycleQD(SPACE, seed=1, bins=2, ranges=[[0, 1], [0, 1]])
    tell(searcher, [(0.9, 0.1), (0.8, 0.2), (0.1, 0.9), (0.7, 0.95)])
    assert dict(searcher.elites()) == {
        0: "goal 1, cell 0",
        2: "goal 2, cell 0",
        3: "goal 1, cell 1; goal 2, cell 1",
    }


def test_cells_of_an_archive_are_bins_of_the_other_goals() -> None:
    searcher = CycleQD(SPACE, seed=1, bins=2, ranges=[[0.0, 1.0]] * 3)
    tell(searcher, [(0.9, 0.1, 0.9), (0.2, 0.1, 0.8), (0.5, 0.6, 0.1)])
    assert searcher._archives == [
        {(0, 1): 0, (1, 0): 2},
        {(0, 0): 2, (0, 1): 1, (1, 1): 0},
        {(0, 0): 1, (0, 1): 2, (1, 0): 0},
    ]


def test_ranges_are_learnt_and_all_is_sorted_in_anew() -> None:
    searcher = CycleQD(SPACE, seed=1, bins=2)
    tell(searcher, [(0.0, 0.0), (0.1, 1.0)])
    assert searcher._archives[0] == {(0,): 0, (1,): 1}
    tell(searcher, [(0.05, 10.0)])  # now 0 and 1 are neighbours
    assert searcher._archives[0] == {(0,): 1, (1,): 2}


def test_archives_take_turns() -> None:
    """Parents come from one archive a batch; here each has one elite."""
    searcher = CycleQD(SPACE, seed=3, bins=1, ranges=[[0, 1], [0, 1]], first=2)
    tell(searcher, [(0.9, 0.0), (0.0, 0.9)])
    for best in (1, 0, 1):  # after the first turn
        searcher.ask(4)
        assert {(o.how, o.parents) for o in searcher.origins[-4:]} == {("mutant", (best,))}


def test_child_is_nearly_the_mean_of_its_parents_with_choices_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("evomerge.search.cycle_qd.mutate", lambda _space, point, *_: point)
    known = {"one": np.array([0.2, 1.0, 0.1]), "other": np.array([0.6, 0.0, 0.9])}
    space = SearchSpace(list(SPACE.genes), known=known)
    searcher = CycleQD(space, seed=3, bins=2, ranges=[[0, 1], [0, 1]])
    tell(searcher, [(0.9, 0.1), (0.1, 0.9)])
    children = np.array(searcher.ask(40))
    assert np.abs(children[:, :2] - [0.4, 0.5]).max() < 0.03
    assert set(children[:, 2]) == {space.known[name][2] for name in known}
    assert {tuple(sorted(o.parents)) for o in searcher.origins[2:]} == {(0, 1)}


def test_who_misses_bounds_is_replaced_by_who_keeps_them() -> None:
    searcher = CycleQD(SPACE, seed=1, bins=1)
    tell(searcher, [(0.9, 0.9), (0.1, 0.2)], violation=[0.1, 0.0])
    assert [place for place, _ in searcher.elites()] == [1]


def test_good_elites_have_children_more_often() -> None:
    searcher = CycleQD(SPACE, seed=1, bins=10, ranges=[[0, 1], [0, 1]], first=8)
    tell(searcher, [(k / 10, k / 10) for k in range(1, 9)])
    searcher.ask(400)
    parents = [p for origin in searcher.origins[8:] for p in origin.parents]
    counts = np.bincount(parents, minlength=8)
    assert counts[7] > 2 * counts[0] > 0


def test_search_whose_candidates_all_failed_goes_on() -> None:
    searcher = CycleQD(SPACE, seed=1, first=2)
    points = searcher.ask(2)
    searcher.tell([Evaluated(p, (math.nan, math.nan), failure="it failed") for p in points])
    assert len(searcher.ask(4)) == 4
    assert searcher.elites() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "cycle_qd needs bins and a batch of at least 1"),
        ({"first": 1}, "at least 2 first points"),
        ({"sigma": 0.0}, r"a sigma in \(0, 10\]"),
        ({"ranges": [[1.0, 0.0]]}, r"cycle_qd needs ranges as \[low, high\]"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CycleQD(SPACE, **options)  # type: ignore[arg-type]  # that is the fault
