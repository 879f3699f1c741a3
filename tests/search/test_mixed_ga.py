"""The genetic algorithm: its first generation, its survivors, its silent genes."""

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.mixed_ga import MixedGA
from evomerge.space import Gene, SearchSpace


def test_first_candidate_is_where_the_search_begins(switches: SearchSpace) -> None:
    first = MixedGA(switches, seed=5).ask()[0]
    assert switches.decode(first) == {
        **{f"use {k}": False for k in range(10)},
        **{f"scale {k}": 1.0 for k in range(10)},
    }


def test_best_ever_survives_and_children_differ_from_their_parents(switches: SearchSpace) -> None:
    searcher = MixedGA(switches, seed=1, population=6)
    rng = np.random.default_rng(1)
    best = -1.0
    for _ in range(20):
        scores = rng.random(6)
        searcher.tell(
            [Evaluated(p, (float(s),)) for p, s in zip(searcher.ask(), scores, strict=True)]
        )
        best = max(best, float(scores.max()))
        parents = [result.objectives[0] for _, result in searcher._parents]
        assert parents == sorted(parents, reverse=True)
        assert parents[0] == best
        assert len({result.genome.tobytes() for _, result in searcher._parents}) == len(parents)
    assert searcher.duplicates < 12


def test_gene_without_effect_is_inherited_and_comes_back() -> None:
    """A number lies hidden while its switch is off, and is asked again when that is on."""
    space = SearchSpace([Gene("on", choices=(False, True)), Gene("a", start=0.5, needs="on")])
    searcher = MixedGA(space, seed=2, population=4, crossover=0.0)
    searcher.ask()
    searcher._points = [np.array([0.25, place]) for place in (0.9, 0.91, 0.92, 0.93)]
    searcher.tell([Evaluated(space.settle(p), (1.0,)) for p in searcher._points])
    assert len(searcher._parents) == 1  # equal candidates are one
    hidden = searcher._parents[0][0][1]
    woken = [p[1] for _ in range(10) for p in searcher.ask() if p[0] == 0.75]
    assert np.isclose(woken, hidden).any()
    assert all(p[1] == 0.5 for _ in range(10) for p in searcher.ask() if p[0] == 0.25)


def test_recommendation_is_what_the_parents_agree_on() -> None:
    space = SearchSpace([Gene("kind", choices=tuple("xyz")), Gene("a")])
    searcher = MixedGA(space, seed=2, population=4)
    searcher.ask()
    searcher._points = [np.array(p) for p in [(1 / 6, 0.9), (5 / 6, 0.1), (5 / 6, 0.2), (0.5, 0.4)]]
    searcher.tell([Evaluated(p, (4.0 - k,)) for k, p in enumerate(searcher._points)])
    assert space.decode(searcher.recommend()[0]) == {"kind": "z", "a": 0.4}


def test_numbers_of_a_recommendation_come_from_where_they_have_effect() -> None:
    on = Gene("on", choices=(False, True))
    space = SearchSpace([on, Gene("a", start=0.5, needs="on"), Gene("b")])
    searcher = MixedGA(space, seed=2, population=4)
    searcher.ask()
    rows = [(0.75, 0.9, 0.0), (0.75, 0.7, 0.1), (0.25, 0.0, 0.2), (0.75, 0.8, 0.3)]
    searcher._points = [np.array(row) for row in rows]
    searcher.tell([Evaluated(space.settle(p), (4.0 - k,)) for k, p in enumerate(searcher._points)])
    assert space.decode(searcher.recommend()[0]) == {"on": True, "a": 0.8, "b": 0.15}
