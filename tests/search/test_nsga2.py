"""NSGA-II: a front that grows, bounds before goals, nothing twice, and where children come from."""

import math
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import hypervolume
from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.search.nsga2 import NSGA2
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

NUMBERS = SearchSpace([Gene(f"{k}") for k in range(8)])
MIXED = SearchSpace([Gene("a"), Gene("b"), *(Gene(f"c{k}", choices=(0, 1, 2)) for k in range(4))])
BOTH = pytest.mark.parametrize("name", ["nsga2", "nsga3"])


def zdt1(x: "Genome") -> tuple[float, float]:
    """Zitzler, Deb and Thiele (2000), turned round: https://doi.org/10.1162/106365600568202."""
    g = 1.0 + 9.0 * float(x[1:].mean())
    return -float(x[0]), -g * (1.0 - math.sqrt(x[0] / g))


def make(name: str, space: SearchSpace, **options: object) -> Searcher:
    build: Callable[..., Searcher] = SEARCHERS.get(name)
    return build(space, **options)


def spend(
    searcher: Searcher,
    evaluations: int,
    goals: "Callable[[Genome], tuple[float, ...]]",
    missing: "Callable[[Genome], float]" = lambda _: 0.0,
) -> list[Evaluated]:
    told: list[Evaluated] = []
    while searcher.asked < evaluations:
        points = searcher.ask(min(searcher.batch, evaluations - searcher.asked))
        batch = [Evaluated(point, goals(point), violation=missing(point)) for point in points]
        searcher.tell(batch)
        told += batch
    return told


@BOTH
def test_the_front_of_zdt1_is_far_beyond_that_of_random_search(name: str) -> None:
    volumes = {name: 0.0, "random": 0.0}
    for which, seed in product(volumes, range(4)):
        told = spend(make(which, NUMBERS, seed=seed), 300, zdt1)
        volumes[which] += hypervolume([r.objectives for r in told], [-1.1, -6.0]) / 4
    assert volumes[name] > volumes["random"] + 0.4


@BOTH
def test_first_generation_holds_the_known_points_and_says_so(name: str) -> None:
    known = {"uniform": np.full(8, 0.5), "first": np.eye(8)[0], "second": np.eye(8)[1]}
    space = SearchSpace(NUMBERS.genes, known=known)
    searcher = make(name, space, population=10)
    points = searcher.ask()
    for point, expected in zip(points, space.known.values(), strict=False):
        assert np.array_equal(point, expected)
    assert [origin.how for origin in searcher.origins] == ["known"] * 3 + [""] * 7


@BOTH
def test_children_name_parents_that_were_asked_before(name: str) -> None:
    searcher = make(name, MIXED, population=8, seed=4)
    spend(searcher, 40, lambda x: (float(x[0]), -float(x.sum())))
    for place, origin in enumerate(searcher.origins[8:], start=8):
        assert origin.how in ("crossover", "mutant")
        assert len(origin.parents) in ((1, 2) if origin.how == "crossover" else (1,))
        assert all(parent < place - place % 8 for parent in origin.parents)


@BOTH
def test_nothing_is_proposed_twice_until_the_space_is_exhausted(name: str) -> None:
    space = SearchSpace([Gene(f"c{k}", choices=(0, 1, 2)) for k in range(3)])
    searcher = make(name, space, population=4, seed=2)
    spend(searcher, 24, lambda x: (float(x[0]), -float(x.sum())))
    assert searcher.duplicates <= 2, "the first generation is drawn by lot"
    spend(searcher, 80, lambda x: (float(x[0]), -float(x.sum())))
    assert searcher.asked == 80, "and then it goes on all the same"


@BOTH
def test_bounds_are_met_before_goals_count(name: str) -> None:
    def missing(x: "Genome") -> float:
        return max(0.0, 0.9 - float(x[7]))

    told = spend(make(name, NUMBERS, seed=1), 300, zdt1, missing)
    kept = [result.violation == 0.0 for result in told]
    assert sum(kept[-40:]) > 30
    assert sum(kept[:40]) < 15


@BOTH
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), spread=st.floats(0.1, 200.0))
def test_children_lie_in_the_cube_whatever_the_indices(name: str, seed: int, spread: float) -> None:
    searcher = make(
        name, MIXED, seed=seed, population=6, crossover_index=spread, mutation_index=spread,
        mutation=0.5,
    )  # fmt: skip
    for result in spend(searcher, 30, lambda x: (float(x[0]), float(x[1]))):
        assert np.isfinite(result.genome).all()
        assert ((result.genome >= 0.0) & (result.genome <= 1.0)).all()


def test_failures_leave_the_population_as_soon_as_there_is_anything_else() -> None:
    searcher = NSGA2(NUMBERS, population=4)
    for point in (searcher.ask(), searcher.ask()):
        searcher.tell([Evaluated(p, (math.nan, math.nan), failure="why") for p in point])
    spend(searcher, 12, zdt1)
    assert searcher.best is not None
    children = searcher.ask()
    assert {p for o in searcher.origins[-len(children) :] for p in o.parents} <= {8, 9, 10, 11}


def test_parents_stay_close_where_the_index_is_great() -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(2)])
    near, far = (
        NSGA2(space, population=20, crossover_index=index, mutation=0.0, crossover=1.0)
        for index in (1000.0, 1.0)
    )
    distances = []
    for searcher in (near, far):
        told = spend(searcher, 20, lambda x: (float(x[0]), float(x[1])))
        parents = np.array([result.genome for result in told])
        children = np.array(searcher.ask())
        gaps = np.abs(children[:, None] - parents).min(axis=1)
        distances.append(gaps.max())
    assert distances[0] < 0.01 < distances[1]


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "needs a population of at least 4"),
        ({"crossover": 1.5}, r"needs a crossover and a mutation in \[0, 1\]"),
        ({"mutation": -0.1}, r"needs a crossover and a mutation in \[0, 1\]"),
        ({"crossover_index": 0.0}, "needs a crossover_index and a mutation_index > 0"),
        ({"mutation_index": math.nan}, "needs a crossover_index and a mutation_index > 0"),
    ],
)
def test_impossible_options_are_refused_by_name(
    name: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} {message}"):
        make(name, NUMBERS, **options)
