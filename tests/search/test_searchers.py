"""All searchers: replay, bounds, bookkeeping, and what they make of failures and ties."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.search.base import rank
from evomerge.search.random import RandomSearch
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

    Spend: TypeAlias = Callable[[Searcher, int, Callable[[Genome], float]], list[Genome]]

NAMES = ("catcma", "cma", "mixed_ga", "random", "sep_cma")
LEARNING = ("catcma", "cma", "mixed_ga", "sep_cma")


def make(name: str, space: SearchSpace | int, **options: Any) -> Searcher:
    """Make a searcher of a space, or of so many numbers."""
    if isinstance(space, int):
        space = SearchSpace([Gene(f"gene {k}") for k in range(space)])
    kind: Callable[..., Searcher] = SEARCHERS.get(name)
    return kind(space, **options)


def sphere(point: "Genome") -> float:
    return -float(((point - 0.8) ** 2).sum())


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Numbers and choices in any order, some of which need an earlier switch."""
    genes: list[Gene] = []
    switches: list[str] = []
    for k in range(draw(st.integers(1, 9))):
        needs = draw(st.sampled_from([None, *switches]))
        size = draw(st.integers(1, 4))
        if size == 1:
            start = draw(st.sampled_from([None, -1.0, 0.25, 2.0]))
            genes.append(Gene(f"{k}", -1.0, 2.0, start=start, needs=needs))
        else:
            weights = draw(st.lists(st.integers(1, 60), min_size=size, max_size=size))
            chances = tuple(w / sum(weights) for w in weights)
            choices = (False, *(f"choice {c}" for c in range(1, size)))
            genes.append(Gene(f"{k}", choices=choices, chances=chances, needs=needs))
            switches.append(f"{k}")
    return SearchSpace(genes)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25)
@given(
    space=spaces(),
    seed=st.integers(0, 2**40),
    evaluations=st.integers(1, 90),
    bad=st.sampled_from([math.nan, -math.inf, 1e300, 0.0]),
)
def test_replay_gives_the_same_settled_asks_whatever_it_is_told(
    name: str, spend: "Spend", space: SearchSpace, seed: int, evaluations: int, bad: float
) -> None:
    def objective(point: "Genome") -> float:
        return bad if point[0] < 0.4 else sphere(point)

    first = make(name, space, seed=seed)
    asked = spend(first, evaluations, objective)
    again = spend(make(name, space, seed=seed), evaluations, objective)
    assert len(asked) == evaluations == first.asked == first.told
    for a, b in zip(asked, again, strict=True):
        assert a.shape == (len(space),)
        assert a.dtype == np.float64
        assert np.array_equal(a, b)
        assert ((a >= 0) & (a <= 1)).all()
        assert np.array_equal(space.settle(a), a)
    for point in first.recommend():
        assert np.array_equal(space.settle(point), point)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_asks_for_other_points(name: str) -> None:
    first, second = (make(name, 3, seed=seed).ask() for seed in (1, 2))
    assert not np.array_equal(first[1], second[1])


@pytest.mark.parametrize("name", NAMES)
def test_global_generator_is_neither_read_nor_written(
    name: str, spend: "Spend", switches: SearchSpace
) -> None:
    state = np.random.get_state()  # noqa: NPY002 - the generator nobody may touch
    spend(make(name, switches), 60, sphere)
    assert str(np.random.get_state()) == str(state)  # noqa: NPY002 - see above


@pytest.mark.parametrize("name", NAMES)
def test_first_generations_draw_choices_by_their_chances(name: str) -> None:
    chances = (0.3, 0.6, 0.1)
    if name == "cma":
        chances = (0.16, 0.68, 0.16)  # it knows a mean and equal parts only: here ±1 sigma
    space = SearchSpace([Gene(f"{k}", choices=tuple("xyz"), chances=chances) for k in range(40)])
    points = [
        p for seed in range(20) for p in make(name, space, seed=seed, population=12).ask()[1:]
    ]
    found = [np.mean([point == gene for point in points]) for gene in (1 / 6, 1 / 2, 5 / 6)]
    assert np.allclose(found, chances, atol=0.03)


def test_nan_and_failures_count_as_worst() -> None:
    searcher = make("random", 1)
    points = searcher.ask(4)
    results = [
        Evaluated(points[0], (math.nan,)),
        Evaluated(points[1], (-5.0,)),
        Evaluated(points[2], (9.0,), failure="its worker died"),
        Evaluated(points[3], (-7.0,)),
    ]
    searcher.tell(results)
    assert searcher.best is not None
    assert searcher.best.objectives == (-5.0,)
    assert rank(results) == [3, 0, 2, 1]


def test_what_was_raced_out_is_best_only_while_nothing_has_met_all_items() -> None:
    searcher = make("random", 1)
    points = searcher.ask(2)
    searcher.tell([Evaluated(points[0], (0.9,), raced_out=True)])
    assert searcher.best is not None
    assert searcher.best.objectives == (0.9,)
    searcher.tell([Evaluated(points[1], (0.2,))])
    assert searcher.best.objectives == (0.2,)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, math.nan]), max_size=12))
def test_places_are_in_order_of_merit_and_of_asking_where_it_is_equal(scores: list[float]) -> None:
    results = [Evaluated(np.zeros(1), (score,)) for score in scores]
    places = rank(results)
    assert sorted(places) == list(range(len(scores)))
    ordered = sorted(range(len(scores)), key=lambda k: places[k])
    for better, worse in pairwise(ordered):
        keys = results[better].rank_key, results[worse].rank_key
        assert keys[0] > keys[1] or (keys[0] == keys[1] and better < worse)


@pytest.mark.parametrize("name", LEARNING)
def test_only_order_counts_with_raced_out_ones_below_the_finished(
    name: str, switches: SearchSpace
) -> None:
    def ask_next(scores: list[float], raced_out: list[bool]) -> "list[Genome]":
        searcher = make(name, switches, seed=4, population=4)
        told = zip(searcher.ask(), scores, raced_out, strict=True)
        searcher.tell([Evaluated(point, (s,), raced_out=out) for point, s, out in told])
        return searcher.ask()

    flags = [False, True, True, False]
    plain = ask_next([4.0, 2.0, 1.0, 3.0], [False] * 4)
    assert np.array_equal(ask_next([0.2, 0.9, 0.8, 0.1], flags), plain)
    assert not np.array_equal(ask_next([0.2, 0.9, 0.8, 0.1], [False] * 4), plain)


@pytest.mark.parametrize("name", NAMES)
def test_search_in_which_everything_fails_goes_on_and_has_no_best(
    name: str, switches: SearchSpace
) -> None:
    searcher = make(name, switches)
    for _ in range(5):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (math.nan,), failure="it raised") for p in points])
    assert searcher.best is None
    assert np.isfinite(searcher.ask()).all()


@pytest.mark.parametrize("name", LEARNING)
def test_failed_points_drive_a_search_away_like_the_worst_finite_ones(
    name: str, spend: "Spend"
) -> None:
    def hostile(point: "Genome") -> float:
        return math.nan if point[0] > 0.5 else float(point[0])

    searcher = make(name, 4, seed=1)
    asked = spend(searcher, 40 * searcher.batch, hostile)
    late = asked[-10 * searcher.batch :]
    assert np.mean([p[0] <= 0.5 for p in late]) > 0.4
    assert searcher.best is not None
    assert searcher.best.objectives[0] > 0.45


@pytest.mark.parametrize("name", ["catcma", "cma", "sep_cma"])
def test_partial_last_batch_teaches_a_distribution_nothing_and_breaks_nothing(
    name: str, spend: "Spend", switches: SearchSpace
) -> None:
    searcher = make(name, switches, seed=1)
    spend(searcher, searcher.batch, sphere)
    mean = searcher.recommend()[0]
    spend(searcher, 2 * searcher.batch - 1, sphere)
    assert np.array_equal(searcher.recommend()[0], mean)


@pytest.mark.parametrize("name", LEARNING)
def test_nothing_is_recommended_before_anything_was_learned(name: str, spend: "Spend") -> None:
    searcher = make(name, 3)
    assert searcher.recommend() == []
    spend(searcher, searcher.batch, sphere)
    (mean,) = searcher.recommend()
    assert mean.shape == (3,)
    assert make("random", 3).recommend() == []


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("seed", range(3))
def test_best_of_a_single_gene_is_found(name: str, seed: int, spend: "Spend") -> None:
    searcher = make(name, 1, seed=seed)
    spend(searcher, 25 * searcher.batch, sphere)
    assert searcher.best is not None
    assert searcher.best.genome.shape == (1,)
    assert abs(searcher.best.genome[0] - 0.8) < 0.02
    assert abs(searcher.recommend()[0][0] - 0.8) < 0.05


@pytest.mark.parametrize("name", LEARNING)
def test_right_choice_of_a_single_gene_is_found(name: str, spend: "Spend") -> None:
    space = SearchSpace([Gene("a", choices=tuple("vwxyz"))])
    searcher = make(name, space, seed=2)
    spend(searcher, 25 * searcher.batch, lambda point: float(space.decode(point)["a"] == "y"))
    assert space.decode(searcher.recommend()[0]) == {"a": "y"}


@pytest.mark.parametrize("name", ["catcma", "cma", "sep_cma"])
@pytest.mark.parametrize(("genes", "population"), [(1, 6), (2, 6), (10, 10), (36, 14), (100, 17)])
def test_default_population_is_that_of_the_paper(name: str, genes: int, population: int) -> None:
    """4 + ⌊3 ln n⌋ (Hansen and Ostermeier, 2001); a lone gene has an idle companion."""
    assert make(name, genes).batch == population


@pytest.mark.parametrize("name", ["catcma", "cma", "sep_cma"])
def test_first_generation_is_drawn_around_the_starts(name: str) -> None:
    starts = [-0.2, 0.0, 0.3]
    space = SearchSpace([Gene(f"{k}", -1.0, 1.0, start=s) for k, s in enumerate(starts)])
    points = np.array([p for seed in range(60) for p in make(name, space, seed=seed).ask()])
    assert np.allclose(points.mean(axis=0), [0.4, 0.5, 0.65], atol=0.04)
    assert np.allclose(points.std(axis=0), 1 / 6, atol=0.04)


class Stubborn(Searcher):
    """Proposes one point, however it may be written."""

    def _ask(self, count: int) -> "list[Genome]":
        return [np.array([0.1 + 0.01 * k, 7.0 + k, 0.3 * k]) for k in range(count)]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn nothing."""


def test_equal_candidates_are_equal_genomes_and_counted_as_duplicates() -> None:
    genes = [Gene("on", choices=(False, True)), Gene("a"), Gene("b", start=0.5, needs="on")]
    searcher = Stubborn(SearchSpace(genes))
    for point in searcher.ask(3):
        assert np.array_equal(point, [0.25, 1.0, 0.5])  # clipped, and settled
    assert (searcher.asked, searcher.duplicates, searcher.dimension) == (3, 2, 3)


def test_genome_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"genome has shape \(3,\), the space has 1 genes"):
        Stubborn(SearchSpace([Gene("a")])).ask(1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("catcma", {"population": 3}, "catcma needs a population of at least 4"),
        ("catcma", {"sigma": -1.0}, r"catcma needs a sigma in \(0, 10\]"),
        ("cma", {"population": 3}, "cma needs a population of at least 4"),
        ("cma", {"population": 4.5}, "cma needs a population of at least 4"),
        ("cma", {"mean": 1.5}, r"cma needs a mean in \[0, 1\] and a sigma in \(0, 10\]"),
        ("cma", {"sigma": 0.0}, r"cma needs a mean in \[0, 1\] and a sigma in \(0, 10\]"),
        ("mixed_ga", {"population": 2}, "mixed_ga needs a population of at least 4"),
        ("mixed_ga", {"crossover": 1.2}, r"mixed_ga needs a crossover in \[0, 1\] and a sigma"),
        ("random", {"population": 0}, "random needs a population of at least 1"),
        ("sep_cma", {"population": 0}, "sep_cma needs a population of at least 4"),
        ("sep_cma", {"sigma": 11.0}, r"sep_cma needs a sigma in \(0, 10\]"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, 3, **options)


def test_random_search_is_uniform_in_numbers() -> None:
    points = np.array(RandomSearch(SearchSpace([Gene("a"), Gene("b", 1, 9)])).ask(4000))
    assert np.allclose(points.mean(axis=0), 0.5, atol=0.03)
    assert np.allclose(points.std(axis=0), 1 / math.sqrt(12), atol=0.02)
