"""Warm starts, restarts, and what evolution strategies recommend in the end."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.records import Evaluated, Origin
from evomerge.search import SEARCHERS, Searcher
from evomerge.search.evolution_strategy import EvolutionStrategy, fit_normal
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

    Objective: TypeAlias = Callable[[Genome], float]
    Spend: TypeAlias = Callable[[Searcher, int, Objective], list[Genome]]

STRATEGIES = ("catcma", "cma", "sep_cma")
KNOWN = {
    "near": np.full(6, 0.85),
    "nearer": np.full(6, 0.7),
    "near again": np.full(6, 0.85),
    "only a": np.eye(6)[0],
    "only b": np.eye(6)[1],
    "far": np.zeros(6),
    "farther": np.ones(6) - np.eye(6)[0],
}


def make(
    name: str, genes: int = 6, known: "dict[str, Genome] | None" = None, **options: Any
) -> EvolutionStrategy:
    known = known or (KNOWN if genes == 6 else {})
    space = SearchSpace([Gene(f"{k}", -1.0, 2.0) for k in range(genes)], known=known)
    found = SEARCHERS.get(name)(space, **options)
    assert isinstance(found, EvolutionStrategy)
    return found


def sphere(point: "Genome") -> float:
    return -float(((point - 0.75) ** 2).sum())


def tell(searcher: Searcher, points: "list[Genome]", objective: "Objective" = sphere) -> None:
    searcher.tell([Evaluated(point, (objective(point),)) for point in points])


@pytest.mark.parametrize("name", STRATEGIES)
def test_warm_start_asks_for_every_known_point_once_and_then_around_the_best(name: str) -> None:
    searcher = make(name, warm_start=True, sigma=0.02, population=40)
    first = searcher.ask()
    assert np.allclose(first, [KNOWN[key] for key in KNOWN if key != "near again"])
    assert searcher.origins == [Origin("known")] * 6
    assert searcher.recommend() == []
    tell(searcher, first)
    assert np.allclose(searcher.recommend(), [[0.7] * 6])
    points = np.array(searcher.ask())
    assert points.shape == (40, 6)
    assert np.allclose(points.mean(axis=0), 0.7, atol=0.03)
    assert searcher.origins[6:] == [Origin()] * 40


@pytest.mark.parametrize("name", ["catcma", "cma"])
def test_warm_start_draws_widest_in_the_direction_in_which_good_points_lie(name: str) -> None:
    known = {f"{k}": np.full(6, k / 20 + 0.05) for k in range(20)}  # 0.7 and 0.8 are a tenth
    del known["14"]
    known["another"] = np.zeros(6)
    searcher = make(name, known=known, warm_start=True, sigma=0.02, population=60)
    tell(searcher, searcher.ask())
    points = np.array(searcher.ask())
    together, apart = points.mean(axis=1).std(), (points - points.mean(axis=1)[:, None]).std()
    assert together == pytest.approx(math.hypot(0.05, 0.02 / math.sqrt(6)), rel=0.35)
    assert apart == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_warm_start_without_known_points_is_a_cold_one(name: str, spend: "Spend") -> None:
    cold, warm = (make(name, 4, warm_start=warm) for warm in (False, True))
    pairs = zip(spend(cold, 30, sphere), spend(warm, 30, sphere), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", STRATEGIES)
def test_known_points_that_all_fail_are_forgotten(name: str) -> None:
    searcher = make(name, warm_start=True, population=30)
    tell(searcher, searcher.ask(), lambda _: math.nan)
    assert searcher.recommend() == []
    assert np.mean(searcher.ask()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", STRATEGIES)
def test_budget_that_ends_among_the_known_points_breaks_nothing(name: str, spend: "Spend") -> None:
    searcher = make(name, warm_start=True)
    assert len(spend(searcher, 3, sphere)) == 3
    assert searcher.recommend() == []
    assert len(searcher.ask(9)) == 9


@pytest.mark.parametrize("name", ["catcma", "sep_cma"])
def test_warm_start_makes_the_choices_of_good_points_likelier(name: str) -> None:
    genes = [Gene(f"{k}", choices=tuple("xyz")) for k in range(5)]
    names = {"all x": "x", "all y": "y", "all z": "z"}
    empty = SearchSpace(genes)
    known = {key: empty.encode(dict.fromkeys("01234", v)) for key, v in names.items()}
    searcher = SEARCHERS.get(name)(SearchSpace(genes, known=known), warm_start=True, population=200)
    tell(searcher, searcher.ask(), lambda point: float(point[0] > 0.7))
    drawn = np.array(searcher.ask())
    assert np.mean(drawn > 0.7) > 0.45
    assert np.mean(drawn < 0.3) > 0.02


@pytest.mark.parametrize("name", STRATEGIES)
def test_search_that_stands_on_a_plateau_begins_again_with_twice_the_population(
    name: str, spend: "Spend"
) -> None:
    searcher = make(name, 2, restarts="ipop", population=10)
    spend(searcher, 170, lambda _: 0.5)  # 10 + 30 · 2 / 10 generations and one more
    assert searcher.batch == 20
    assert make(name, 2, population=10).batch == 10


@pytest.mark.parametrize("name", STRATEGIES)
def test_search_that_asks_for_one_point_only_begins_again(name: str, spend: "Spend") -> None:
    searcher = make(name, 2, restarts="ipop", population=8)
    asked = spend(searcher, 1500, sphere)
    sizes, last = searcher.batch, np.array(asked[-searcher.batch :])
    assert sizes >= 16
    assert searcher.asked - searcher.duplicates > 300
    assert last.std() > 0.001 or sizes > 16


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("restarts", ["ipop", "bipop"])
def test_mean_of_the_best_search_is_recommended_after_restarts(
    name: str, restarts: str, spend: "Spend"
) -> None:
    searcher = make(name, 2, restarts=restarts, population=6, seed=3)
    while searcher._ended is None:
        tell(searcher, searcher.ask())
    assert np.allclose(searcher.recommend(), [[0.75, 0.75]], atol=1e-3)  # nothing was learned since
    spend(searcher, searcher.asked + 2 * searcher.batch, sphere)
    assert any(np.allclose(point, 0.75, atol=1e-3) for point in searcher.recommend())


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("restarts", ["ipop", "bipop"])
@settings(deadline=None, max_examples=2)
@given(seed=st.integers(0, 2**40))
def test_restarts_and_warm_starts_are_replayed(
    name: str, restarts: str, spend: "Spend", seed: int
) -> None:
    def plateau(point: "Genome") -> float:
        return round(sphere(point), 1)

    options = {"restarts": restarts, "warm_start": True, "population": 5, "seed": seed}
    asked, again = (spend(make(name, **options), 700, plateau) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(asked, again, strict=True))


def test_restarts_find_what_one_search_misses(spend: "Spend") -> None:
    def funnel(point: "Genome") -> float:
        x = 10.24 * (point - 0.5) - 1.5
        return -float((x**2 - 10.0 * np.cos(2 * math.pi * x) + 10.0).sum())

    def find(restarts: str, seed: int) -> float:
        searcher = make("cma", 2, restarts=restarts, seed=seed, population=4)
        spend(searcher, 1500, funnel)
        assert searcher.best is not None
        return searcher.best.objectives[0]

    once, often = ([find(kind, seed) for seed in range(3)] for kind in ("none", "ipop"))
    assert min(often) > -0.1 > min(once)


@settings(deadline=None, max_examples=40)
@given(
    points=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=9),
    sigma=st.floats(1e-3, 2.0),
)
def test_fitted_normal_has_the_moments_of_the_points(
    points: list[list[float]], sigma: float
) -> None:
    mean, size, covariances = fit_normal(list(np.array(points)), sigma)
    assert np.allclose(mean, np.mean(points, axis=0))
    expected = np.cov(np.array(points).T, bias=True) + sigma**2 * np.eye(3)
    assert np.allclose(size**2 * covariances, expected, atol=1e-7)


def test_normal_of_hundreds_of_genes_can_be_fitted() -> None:
    mean, size, covariances = fit_normal([np.zeros(300), np.ones(300)], 0.01)
    assert np.allclose(mean, 0.5)
    assert np.isfinite(covariances).all()
    assert size > 0.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_unknown_restarts_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name} knows no restarts 'ippop' \(did you mean 'ipop'"
    ):
        make(name, restarts="ippop")
    with pytest.raises(ValueError, match="'often'; expected none, ipop or bipop"):
        make(name, restarts="often")


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("options", [{"population": 1}, {"sigma": 0.0}, {"sigma": math.nan}])
def test_population_of_one_and_steps_of_nothing_are_refused(
    name: str, options: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs a"):
        make(name, **options)
