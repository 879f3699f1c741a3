"""MAP-Elites: one elite for each kind of answer."""

import math

import numpy as np
import pytest

from evomerge.errors import EvaluationError
from evomerge.records import Evaluated
from evomerge.search.map_elites import MAPElites
from evomerge.space import Gene, SearchSpace

SPACE = SearchSpace([Gene("quality"), Gene("length")])


def judge(point: "np.typing.NDArray[np.float64]") -> Evaluated:
    measures = {"gsm8k": float(point[0]), "gsm8k/mean_tokens": 100.0 * float(point[1])}
    return Evaluated(point, (float(point[0]),), measures=measures)


def spend(searcher: MAPElites, batches: int) -> list[Evaluated]:
    results: list[Evaluated] = []
    for _ in range(batches):
        told = [judge(point) for point in searcher.ask()]
        searcher.tell(told)
        results += told
    return results


def test_elites_are_the_best_of_every_length() -> None:
    ranges = [[0.0, 100.0]]
    searcher = MAPElites(SPACE, seed=1, descriptors=["gsm8k/mean_tokens"], grid=5, ranges=ranges)
    results = spend(searcher, 25)
    best: dict[int, float] = {}
    for result in results:
        cell = min(max(math.ceil(result.measures["gsm8k/mean_tokens"] / 20) - 1, 0), 4)
        best[cell] = max(best.get(cell, 0.0), result.objectives[0])
    elites = searcher.elites()
    assert len(elites) == len(best) == 5
    assert sorted(results[place].objectives[0] for place, _ in elites) == sorted(best.values())
    assert min(best.values()) > 0.8  # quality is found at every length
    assert elites[0][1].startswith("best with gsm8k/mean_tokens ")


def test_without_descriptors_the_scores_of_all_tasks_are_the_grid() -> None:
    searcher = MAPElites(SPACE, seed=1, grid=4)
    spend(searcher, 3)
    assert searcher._descriptors == ["gsm8k"]


def test_mutants_come_from_elites_of_all_cells() -> None:
    searcher = MAPElites(SPACE, seed=1, descriptors=["gsm8k/mean_tokens"], grid=4)
    spend(searcher, 3)
    elites = {place for place, _ in searcher.elites()}
    searcher.ask(100)
    parents = {origin.parents[0] for origin in searcher.origins[24:]}
    assert parents == elites
    assert {origin.how for origin in searcher.origins[24:]} == {"mutant"}


def test_descriptor_that_nothing_measures_ends_the_search_with_what_is_there() -> None:
    searcher = MAPElites(SPACE, seed=1, descriptors=["gsm8k/mean_token"])
    message = r"the descriptor 'gsm8k/mean_token' \(did you mean 'gsm8k/mean_tokens'\?\)"
    with pytest.raises(EvaluationError, match=message):
        spend(searcher, 1)
    searcher = MAPElites(SPACE, seed=1, descriptors=["other/thing"])
    with pytest.raises(EvaluationError, match="Measured: gsm8k, gsm8k/mean_tokens"):
        spend(searcher, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 0}, "map_elites needs a grid and a batch of at least 1"),
        ({"first": 1}, "at least 2 first points"),
        ({"sigma": 0.0}, r"a sigma in \(0, 10\]"),
        ({"ranges": [[1.0]]}, r"map_elites needs ranges as \[low, high\]"),
        ({"ranges": [[0, 1]], "descriptors": ["t", "u"]}, "2 ranges, one for each descriptor, not"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MAPElites(SPACE, **options)  # type: ignore[arg-type]  # that is the fault
