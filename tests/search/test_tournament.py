from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from evomerge.records import Evaluated
from evomerge.search.tournament import RATES, Rule, Tournament
from evomerge.space import Gene, SearchSpace

NUMBERS = SearchSpace([Gene(f"{k}") for k in range(6)])
PAIR = SearchSpace(
    [Gene("x", start=0.2), Gene("y", start=0.2)],
    known={"left": np.array([0.0, 0.5]), "right": np.array([1.0, 0.5])},
)
Genome = NDArray[np.float64]
Judge = Callable[[Genome], Evaluated]


def near(point: Genome) -> Evaluated:
    return Evaluated(point, (-float(((point - 0.7) ** 2).sum()),))


def torn(point: Genome) -> Evaluated:
    return Evaluated(point, (float(point[0]), 1.0 - float(point[0]) - abs(float(point[1]) - 0.3)))


def generation(searcher: Tournament, judge: Judge = near) -> list[Evaluated]:
    results = [judge(point) for point in searcher.ask()]
    searcher.tell(results)
    return results


def by_rank(results: Sequence[Evaluated]) -> list[int]:
    return sorted(range(len(results)), key=lambda k: results[k].rank_key, reverse=True)


def test_the_first_generation_begins_with_every_known_point() -> None:
    searcher = Tournament(PAIR, seed=1)
    points = searcher.ask()
    assert len(points) == 8
    assert [origin.how for origin in searcher.origins[:2]] == ["known", "known"]
    assert {point.tobytes() for point in points[:2]} == {p.tobytes() for p in PAIR.known.values()}


def test_the_first_generation_holds_all_known_points_even_where_they_are_more() -> None:
    known = {f"{k}": np.full(6, k / 20) for k in range(12)}
    searcher = Tournament(SearchSpace(NUMBERS.genes, known=known), population=4)
    assert len(generation(searcher)) == 12
    assert len(generation(searcher)) == 4


def test_top_two_get_three_mutants_each_and_six_losers_become_two() -> None:
    searcher = Tournament(NUMBERS, seed=3)
    order = by_rank(generation(searcher))
    searcher.ask()
    young = searcher.origins[8:]
    mutants = [origin.parents[0] for origin in young if origin.how == "mutant"]
    mergers = [origin.parents for origin in young if origin.how == "merger"]
    assert sorted(mutants) == sorted([order[0]] * 3 + [order[1]] * 3)
    assert [len(parents) for parents in mergers] == [3, 3]
    assert {place for parents in mergers for place in parents} == set(order[2:])


def test_a_champion_stays_until_it_is_beaten() -> None:
    searcher = Tournament(NUMBERS, seed=3)
    generation(searcher)
    champion = searcher.best
    assert champion is not None
    generation(searcher, lambda point: Evaluated(point, (-100.0,)))
    searcher.ask()
    place = next(k for k, origin in enumerate(searcher.origins[16:], 16) if origin.how == "mutant")
    assert searcher.origins[place].parents[0] < 8


@pytest.mark.parametrize(("population", "mergers"), [(2, 0), (3, 0), (4, 1), (8, 2), (12, 3)])
def test_other_populations_keep_the_proportions(population: int, mergers: int) -> None:
    size = min(3, population)
    searcher = Tournament(NUMBERS, population=population, tournament_size=size)
    generation(searcher)
    assert len(searcher.ask()) == population
    hows = [origin.how for origin in searcher.origins[population:]]
    assert hows.count("merger") == mergers
    assert hows.count("mutant") == population - mergers


def test_what_failed_is_not_merged() -> None:
    searcher = Tournament(NUMBERS, seed=0)
    told = [
        near(point) if k < 4 else Evaluated(point, (float("nan"),), failure="it failed")
        for k, point in enumerate(searcher.ask())
    ]
    searcher.tell(told)
    searcher.ask()
    assert all(place < 4 for origin in searcher.origins[8:] for place in origin.parents)


def test_nothing_is_proposed_twice_while_there_is_anything_else() -> None:
    searcher = Tournament(NUMBERS, seed=5)
    for _ in range(10):
        generation(searcher, lambda point: Evaluated(point, (0.0,)))
    assert searcher.duplicates == 0


def test_the_rate_rises_as_generations_lie_closer_together_and_stays_in_bounds() -> None:
    searcher = Tournament(NUMBERS, seed=2)
    generation(searcher)
    assert searcher.mutation_rate == 0.1
    rates = [0.1]
    for _ in range(60):
        generation(searcher)
        rates.append(searcher.mutation_rate)
    changes = {round(later / earlier, 6) for earlier, later in pairwise(rates)}
    assert changes == {1.1, 0.9}
    assert RATES[0] <= min(rates) <= max(rates) <= RATES[1]


def test_a_rate_that_is_not_adaptive_stays() -> None:
    searcher = Tournament(NUMBERS, seed=2, adaptive=False)
    for _ in range(5):
        generation(searcher)
    assert searcher.mutation_rate == 0.1


def test_it_ends_after_generations_without_improvement() -> None:
    searcher = Tournament(NUMBERS, patience=2)
    generation(searcher, lambda point: Evaluated(point, (1.0,)))
    for _ in range(2):
        assert not searcher.finished
        assert searcher.remarks() == []
        generation(searcher, lambda point: Evaluated(point, (0.5,)))
    assert searcher.finished
    told = "the search ended after 24 candidates: no improvement in 2 generations"
    assert searcher.remarks() == [told]


@pytest.mark.parametrize("rule", ["elite", "nsga2"])
def test_a_plateau_is_no_improvement(rule: Rule) -> None:
    searcher = Tournament(NUMBERS, rule=rule, patience=2)
    for _ in range(3):
        assert not searcher.finished
        generation(searcher, lambda point: Evaluated(point, (0.5, 0.5)))
    assert searcher.finished


def test_a_new_place_on_the_front_is_an_improvement_and_one_that_is_found_again_is_none() -> None:
    searcher = Tournament(NUMBERS, population=2, tournament_size=2, rule="nsga2", patience=1)
    for k in range(6):  # of which two survive
        assert not searcher.finished
        generation(searcher, lambda point, k=k: Evaluated(point, (k, -k)))  # type: ignore[misc]  # a bound loop variable
    generation(searcher, lambda point: Evaluated(point, (3, -3)))
    assert searcher.finished


def test_an_improvement_starts_the_count_anew() -> None:
    searcher = Tournament(NUMBERS, patience=2)
    for score in (0.1, 0.1, 0.2, 0.2):
        generation(searcher, lambda point, score=score: Evaluated(point, (score,)))  # type: ignore[misc]  # a bound loop variable
        assert not searcher.finished


def test_several_goals_are_a_matter_of_fronts_unless_the_rule_is_elite() -> None:
    found = {}
    for rule in (None, "nsga2", "elite"):
        searcher = Tournament(PAIR, seed=4, rule=rule)  # type: ignore[arg-type]  # one of its words
        for _ in range(12):
            generation(searcher, torn)
        found[rule] = searcher.ask()
    assert all(map(np.array_equal, found[None], found["nsga2"]))
    assert not all(map(np.array_equal, found[None], found["elite"]))


def test_fronts_keep_both_ends() -> None:
    searcher = Tournament(PAIR, seed=4)
    for _ in range(12):
        generation(searcher, torn)
    ends = [float(point[0]) for point in searcher.ask()]
    assert max(ends) - min(ends) > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "a population of at least 2, not 1"),
        ({"rule": "best"}, "elite or nsga2, not 'best'"),
        ({"mutation_rate": 0.0}, r"mutation_rate in \(0, 1\], not 0"),
        ({"population": 4, "tournament_size": 9}, "from 2 to the population, 4, not 9"),
        ({"patience": 0}, "a patience of at least 1 generation"),
    ],
)
def test_impossible_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tournament(NUMBERS, **options)  # type: ignore[arg-type]  # wrong on purpose
