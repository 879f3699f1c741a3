"""COMO-CatCMA with margin: kernels along the front of two goals."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import hypervolume
from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.search.como_catcma import COMOCatCMA
from evomerge.search.random import RandomSearch
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

SWITCH = Gene("on", choices=(False, True), chances=(0.5, 0.5))
NUMBERS = SearchSpace([Gene(f"{k}") for k in range(4)])


def judge(point: "Genome") -> Evaluated:
    """Two spheres, whose front is the line between their centres."""
    goals = tuple(-float(((point - centre) ** 2).sum()) for centre in (0.2, 0.6))
    return Evaluated(point, goals, overall=sum(goals) / 2)


def spend(searcher: Searcher, evaluations: int) -> list[Evaluated]:
    told: list[Evaluated] = []
    while (left := evaluations - searcher.asked) > 0:
        results = [judge(point) for point in searcher.ask(min(searcher.batch, left))]
        searcher.tell(results)
        told += results
    return told


def cover(results: list[Evaluated]) -> float:
    return hypervolume([result.objectives for result in results], (-1.0, -1.0))


def test_means_spread_along_the_front_between_both_goals() -> None:
    searcher = COMOCatCMA(NUMBERS, seed=1, kernels=3)
    found = cover(spend(searcher, 600))
    assert found > cover(spend(RandomSearch(NUMBERS, seed=1), 600))
    means = sorted(searcher.recommend(), key=lambda point: float(point.mean()))
    assert len(means) == 3
    assert all(0.15 < point.mean() < 0.65 for point in means)
    assert all(point.std() < 0.1 for point in means)  # the front is a line
    assert all(b.mean() - a.mean() > 0.05 for a, b in pairwise(means))


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**40), kernels=st.integers(2, 4), cut=st.integers(1, 90))
def test_replay_asks_the_same_wherever_it_is_cut(seed: int, kernels: int, cut: int) -> None:
    space = SearchSpace([SWITCH, Gene("a", needs="on"), Gene("b")])
    runs = [COMOCatCMA(space, seed=seed, kernels=kernels, population=5) for _ in range(3)]
    first, again, short = (spend(s, n) for s, n in zip(runs, (90, 90, cut), strict=True))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.genome, b.genome)
    assert all(np.array_equal(a.genome, b.genome) for a, b in zip(first[:cut], short, strict=True))


def test_kernels_begin_at_the_start_and_at_known_points() -> None:
    known = {"low": np.full(4, 0.1), "high": np.full(4, 0.9)}
    space = SearchSpace(NUMBERS.genes, known=known)
    asked = COMOCatCMA(space, kernels=3, sigma=1e-6).ask()
    middles = {round(float(point.mean()), 3) for point in asked}
    assert middles == {0.1, 0.5, 0.9}
    cold = COMOCatCMA(space, kernels=3, sigma=1e-6, warm_start=False).ask()
    assert {round(float(point.mean()), 3) for point in cold} & middles == {0.5}


def test_gene_without_effect_stays_where_its_kernel_began() -> None:
    """Both goals want the switch off: its number is told at the mean."""
    space = SearchSpace([SWITCH, Gene("a", start=0.9, needs="on"), Gene("b")])
    searcher = COMOCatCMA(space, seed=2, kernels=2, population=20)
    for _ in range(12):
        points = searcher.ask()
        off = [1e3 * (p[0] > 0.5) for p in points]
        goals = [
            (-((p[2] - 0.2) ** 2) - x, -((p[2] - 0.6) ** 2) - x)
            for p, x in zip(points, off, strict=True)
        ]
        searcher.tell([Evaluated(p, pair) for p, pair in zip(points, goals, strict=True)])
    first = searcher._kernels[0].parameters()[0]
    assert first is not None
    assert first[0] == pytest.approx(0.9, abs=0.12)
    assert all(point[0] == 0.25 for point in searcher.recommend())


def test_what_fails_is_dropped_or_misses_bounds_is_worse_than_the_rest_in_both_goals() -> None:
    searcher = COMOCatCMA(NUMBERS)
    point = NUMBERS.start()
    good = [Evaluated(point, (1.0, 4.0)), Evaluated(point, (2.0, 3.0))]
    searcher.tell(good)
    bad = [
        Evaluated(point, (9.0, 9.0), violation=0.1),
        Evaluated(point, (9.0, 9.0), violation=0.6),
        Evaluated(point, (9.0, 9.0), raced_out=True),
        Evaluated(point, (math.nan, 9.0)),
    ]
    losses = [searcher._lose(result) for result in [*good, *bad]]
    assert np.array_equal(losses[0], [-1.0, -4.0])
    assert all((b > a).all() for a, b in pairwise(losses[1:]))
    assert (losses[2] > losses[0]).all()


def test_search_whose_first_batches_fail_begins_again_and_learns_later() -> None:
    searcher = COMOCatCMA(NUMBERS, seed=1, kernels=2, population=6)
    for _ in range(3):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (math.nan, math.nan), failure="no") for p in points])
    assert searcher.recommend() == []
    spend(searcher, 300)
    assert len(searcher.recommend()) == 2
    assert searcher.best is not None


@pytest.mark.parametrize("genes", [NUMBERS.genes, [SWITCH, Gene("a"), Gene("b")]])
def test_where_everything_failed_nothing_is_asked_again(genes: list[Gene]) -> None:
    size = len(genes)
    known = {"low": np.full(size, 0.1), "high": np.full(size, 0.9)}
    searcher = COMOCatCMA(SearchSpace(genes, known=known), seed=1, kernels=2, population=6)
    for _ in range(4):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (math.nan, math.nan), failure="no") for p in points])
    assert searcher.duplicates == 0


def test_number_of_goals_other_than_two_is_refused() -> None:
    searcher = COMOCatCMA(NUMBERS)
    points = searcher.ask()
    with pytest.raises(ValueError, match="como_catcma has two goals, and is told of 1"):
        searcher.tell([Evaluated(point, (0.5,)) for point in points])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": 1}, "at least 2 kernels"),
        ({"population": 1}, "como_catcma needs a population of at least 4"),
        ({"sigma": 0.0}, r"a sigma in \(0, 10\]"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COMOCatCMA(NUMBERS, **options)  # type: ignore[arg-type]  # that is its fault


def test_too_many_numbers_are_refused() -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(1001)])
    with pytest.raises(ValueError, match="como_catcma learns the covariance of at most 1000"):
        COMOCatCMA(space)
