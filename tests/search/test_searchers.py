"""Searchers: replay, bounds, bookkeeping, and that cma is worth its name."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.search.cma import CMA
from evomerge.search.random import RandomSearch

if TYPE_CHECKING:
    from evomerge.types import Genome

Objective: TypeAlias = "Callable[[Genome], float]"
NAMES = ("cma", "random")


def make(name: str, dimension: int, **options: float | int) -> Searcher:
    kind: Callable[..., Searcher] = SEARCHERS.get(name)
    return kind(dimension, **options)


def told(points: "Sequence[Genome]", objective: Objective) -> list[Evaluated]:
    return [Evaluated(point, (objective(point),)) for point in points]


def sphere(point: "Genome") -> float:
    return -float(((point - 0.8) ** 2).sum())


def spend(searcher: Searcher, evaluations: int, objective: Objective = sphere) -> "list[Genome]":
    """Run a search as the loop does; the last batch is what the budget leaves."""
    asked: list[Genome] = []
    while searcher.asked < evaluations:
        points = searcher.ask(min(searcher.batch, evaluations - searcher.asked))
        searcher.tell(told(points, objective))
        asked += points
    return asked


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25)
@given(
    dimension=st.integers(1, 12),
    seed=st.integers(0, 2**40),
    evaluations=st.integers(1, 50),
    bad=st.sampled_from([math.nan, -math.inf, 1e300, 0.0]),
)
def test_replay_gives_the_same_asks_inside_the_cube_whatever_it_is_told(
    name: str, dimension: int, seed: int, evaluations: int, bad: float
) -> None:
    def objective(point: "Genome") -> float:
        return bad if point[0] < 0.4 else sphere(point)

    first = make(name, dimension, seed=seed)
    asked = spend(first, evaluations, objective)
    again = spend(make(name, dimension, seed=seed), evaluations, objective)
    assert len(asked) == evaluations == first.asked == first.told
    for a, b in zip(asked, again, strict=True):
        assert a.shape == (dimension,)
        assert a.dtype == np.float64
        assert np.array_equal(a, b)
        assert ((a >= 0) & (a <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_asks_for_other_points(name: str) -> None:
    first, second = (make(name, 3, seed=seed).ask() for seed in (1, 2))
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("name", NAMES)
def test_global_generator_is_neither_read_nor_written(name: str) -> None:
    state = np.random.get_state()  # noqa: NPY002 - the generator nobody may touch
    spend(make(name, 4), 30)
    assert str(np.random.get_state()) == str(state)  # noqa: NPY002 - see above


def test_nan_and_failures_count_as_worst() -> None:
    searcher = RandomSearch(1)
    points = searcher.ask(4)
    searcher.tell(
        [
            Evaluated(points[0], (math.nan,)),
            Evaluated(points[1], (-5.0,)),
            Evaluated(points[2], (9.0,), failure="its worker died"),
            Evaluated(points[3], (-7.0,)),
        ]
    )
    assert searcher.best is not None
    assert searcher.best.objectives == (-5.0,)


def test_what_was_raced_out_is_best_only_while_nothing_has_met_all_items() -> None:
    searcher = RandomSearch(1)
    points = searcher.ask(2)
    searcher.tell([Evaluated(points[0], (0.9,), raced_out=True)])
    assert searcher.best is not None
    assert searcher.best.objectives == (0.9,)
    searcher.tell([Evaluated(points[1], (0.2,))])
    assert searcher.best.objectives == (0.2,)


def test_cma_learns_from_the_order_alone_with_raced_out_ones_below_the_finished() -> None:
    def recommend(scores: list[float], raced_out: list[bool]) -> "Genome":
        searcher = CMA(3, seed=4, population=4)
        told = zip(searcher.ask(), scores, raced_out, strict=True)
        searcher.tell([Evaluated(point, (s,), raced_out=out) for point, s, out in told])
        return searcher.recommend()[0]

    flags = [False, True, True, False]
    plain = recommend([4.0, 2.0, 1.0, 3.0], [False] * 4)
    assert np.array_equal(recommend([0.2, 0.9, 0.8, 0.1], flags), plain)
    assert not np.array_equal(recommend([0.2, 0.9, 0.8, 0.1], [False] * 4), plain)


@pytest.mark.parametrize("name", NAMES)
def test_search_in_which_everything_fails_goes_on_and_has_no_best(name: str) -> None:
    searcher = make(name, 3)
    for _ in range(5):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (math.nan,), failure="it raised") for p in points])
    assert searcher.best is None
    assert np.isfinite(searcher.ask()).all()


def test_failed_points_drive_cma_away_like_the_worst_finite_ones() -> None:
    def hostile(point: "Genome") -> float:
        return math.nan if point[0] > 0.5 else float(point[0])

    searcher = CMA(4, seed=1)
    asked = spend(searcher, 40 * searcher.batch, hostile)
    late = asked[-10 * searcher.batch :]
    assert np.mean([p[0] <= 0.5 for p in late]) > 0.4
    assert searcher.best is not None
    assert searcher.best.objectives[0] > 0.45


def test_partial_last_batch_of_cma_teaches_nothing_and_breaks_nothing() -> None:
    searcher = CMA(5, seed=1)
    searcher.tell(told(searcher.ask(), sphere))
    mean = searcher.recommend()[0]
    searcher.tell(told(searcher.ask(searcher.batch - 1), sphere))
    assert np.array_equal(searcher.recommend()[0], mean)


@pytest.mark.parametrize("seed", range(5))
def test_cma_finds_the_best_of_a_single_gene(seed: int) -> None:
    searcher = CMA(1, seed=seed)
    spend(searcher, 20 * searcher.batch)
    assert searcher.best is not None
    assert searcher.best.genome.shape == (1,)
    assert abs(searcher.best.genome[0] - 0.8) < 0.02


def test_cma_beats_random_on_a_sphere_of_ten_genes_within_300_evaluations() -> None:
    lead = []
    for seed in range(6):
        found = []
        for name in NAMES:
            searcher = make(name, 10, seed=seed)
            spend(searcher, 300)
            assert searcher.best is not None
            found.append(searcher.best.objectives[0])
        lead.append(found[0] - found[1])
    assert min(lead) > 0.1


@pytest.mark.parametrize(("genes", "population"), [(1, 6), (2, 6), (10, 10), (36, 14), (100, 17)])
def test_default_population_is_that_of_the_paper(genes: int, population: int) -> None:
    """4 + ⌊3 ln n⌋ (Hansen and Ostermeier, 2001); a lone gene has an idle companion."""
    assert CMA(genes).batch == population


def test_first_generation_of_cma_is_drawn_around_the_stated_mean() -> None:
    points = np.array([p for seed in range(60) for p in CMA(4, seed=seed, mean=0.3).ask()])
    assert np.allclose(points.mean(axis=0), 0.3, atol=0.04)
    assert np.allclose(points.std(axis=0), 1 / 6, atol=0.04)


def test_cma_recommends_nothing_before_it_learned_and_its_mean_after() -> None:
    searcher = CMA(3)
    assert searcher.recommend() == []
    searcher.tell(told(searcher.ask(), sphere))
    (mean,) = searcher.recommend()
    assert mean.shape == (3,)
    assert RandomSearch(3).recommend() == []


def test_duplicates_are_counted() -> None:
    class Stubborn(Searcher):
        """Proposes one point."""

        def _ask(self, count: int) -> "list[Genome]":
            return [np.array([0.5, 7.0])] * count

        def _tell(self, results: Sequence[Evaluated]) -> None:
            """Learn nothing."""

    searcher = Stubborn(2)
    assert np.array_equal(searcher.ask(3)[0], [0.5, 1.0])  # clipped
    assert (searcher.asked, searcher.duplicates) == (3, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cma", {"population": 3}, "cma needs a population of at least 4"),
        ("cma", {"population": 4.5}, "cma needs a population of at least 4"),
        ("cma", {"mean": 1.5}, r"cma needs a mean in \[0, 1\] and a sigma in \(0, 10\]"),
        ("cma", {"sigma": 0.0}, r"cma needs a mean in \[0, 1\] and a sigma in \(0, 10\]"),
        ("random", {"population": 0}, "random needs a population of at least 1"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, 3, **options)
