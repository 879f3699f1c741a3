"""Gaussian hill climbing: two step sizes, and where it goes from."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search.hill_climbing import HillClimbing
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from conftest import Spend

SPACE = SearchSpace([Gene("a"), Gene("b")])


def test_first_generation_holds_the_start() -> None:
    space = SearchSpace([Gene("a", start=0.3), Gene("b", choices=("x", "y"), start="y")])
    assert np.array_equal(HillClimbing(space).ask()[0], space.settle(space.start()))


def test_steps_are_short_after_an_improvement_and_long_after_none() -> None:
    searcher = HillClimbing(SPACE, seed=1, population=400, sigma_low=0.01, sigma_high=0.1)
    spreads = []
    for score in (0.0, 1.0, 1.0, 0.5, 2.0, 0.0):
        points = searcher.ask()
        spreads.append(np.std(points))
        searcher.tell([Evaluated(SPACE.start(), (score,))])
    assert np.allclose(spreads, [0.1, 0.1, 0.01, 0.1, 0.1, 0.01], rtol=0.2)


def test_mean_is_that_of_the_best_so_far() -> None:
    searcher = HillClimbing(SPACE, population=4, parents=2)
    points = [np.array(p) for p in ([0.1, 0.1], [0.2, 0.4], [0.4, 0.6], [0.9, 0.9])]
    searcher.ask()
    searcher.tell([Evaluated(p, (s,)) for p, s in zip(points, (1, 4, 3, 2), strict=True)])
    searcher.ask()
    assert np.allclose(searcher.recommend(), [[0.3, 0.5]])


def test_choice_of_most_parents_is_kept_and_a_number_without_effect_left_out() -> None:
    switch = Gene("on", choices=(False, True))
    space = SearchSpace([switch, Gene("size", needs="on")])
    searcher = HillClimbing(space, population=3, parents=3)
    searcher.ask()
    points = [np.array(p) for p in ([0.75, 0.9], [0.75, 0.7], [0.25, 0.5])]
    searcher.tell([Evaluated(p, (1.0,)) for p in points])
    searcher.ask()
    assert np.allclose(searcher.recommend(), [[0.75, 0.8]])


def test_search_ends_with_its_last_generation() -> None:
    searcher = HillClimbing(SPACE, population=3, max_generation=2)
    for _ in range(2):
        assert not searcher.finished
        searcher.tell([Evaluated(p, (1.0,)) for p in searcher.ask()])
    assert searcher.finished


def test_summit_is_climbed(spend: "Spend") -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(5)])
    searcher = HillClimbing(space, seed=3)
    spend(searcher, 300, lambda point: -float(((point - 0.8) ** 2).sum()))
    assert searcher.best is not None
    assert searcher.best.objectives[0] > -0.02


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"population": 1}, "hill_climbing needs a population of at least 2"),
        ({"sigma_low": 0.3}, "0 < sigma_low <= sigma_high <= 1"),
        ({"sigma_low": 0.0}, "0 < sigma_low <= sigma_high <= 1"),
        ({"sigma_high": 1.5}, "0 < sigma_low <= sigma_high <= 1"),
        ({"sigma_high": float("nan")}, "0 < sigma_low <= sigma_high <= 1"),
        ({"parents": 0}, "must be at least 1"),
        ({"max_generation": 0}, "must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        HillClimbing(SPACE, **options)  # type: ignore[arg-type]  # on purpose
