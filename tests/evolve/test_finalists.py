"""The short list: the best merges once each, fairly compared; nothing where nothing succeeded."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evolve.finalists import short_list
from evomerge.genome import DataFlowSpace
from evomerge.recipe import Hop, make_path
from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.store import RACED_OUT, CandidateRow

SPACE = DataFlowSpace({"a": 3, "b": 3}, scales="none")
PATHS = [make_path([Hop("a", 0), Hop("b", layer), Hop("a", 2)]) for layer in range(3)]

objective = st.none() | st.integers(0, 4).map(float)
trial = st.tuples(st.integers(0, 2), objective, st.sampled_from(["done", RACED_OUT]))


def build(name: str, told: float | None = None) -> Searcher:
    """Make a searcher that has been told of one batch."""
    make: Callable[..., Searcher] = SEARCHERS.get(name)
    searcher = make(SPACE.space, seed=0)
    value = np.nan if told is None else told
    searcher.tell([Evaluated(point, (value,)) for point in searcher.ask(searcher.batch)])
    return searcher


def make_row(number: int, which: int, score: float | None, state: str, **more: Any) -> CandidateRow:
    return CandidateRow(
        number=number,
        round=more.get("round", 0),
        stage="search",
        label=f"candidate {number}",
        genome=None,
        recipe=PATHS[which].to_document(),
        fingerprint=f"path {which}",
        state="failed" if score is None else state,
        objective=score,
        items=8,
        error="why" * (score is None),
        seconds={},
    )


@pytest.mark.parametrize("name", ["random", "cma", "catcma"])
def test_nothing_is_listed_where_nothing_succeeded(name: str) -> None:
    rows = [make_row(number, 0, None, "failed") for number in range(3)]
    assert short_list(rows, build(name), SPACE, 2) == []
    assert short_list(rows, build(name), SPACE, 2, leaders=["zoo:sort"]) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(trial, min_size=1, max_size=8), st.integers(1, 3))
def test_the_best_distinct_merges_are_listed(
    drawn: list[tuple[int, float | None, str]], count: int
) -> None:
    rows = [make_row(number, *one) for number, one in enumerate(drawn)]
    listed = short_list(rows, build("random"), SPACE, count, phase="layers")
    done = [row for row in rows if row.objective is not None]
    done = [row for row in done if row.state == "done"] or done
    best: dict[str, float] = {}
    for row in done:
        best[row.fingerprint] = max(row.objective or 0.0, best.get(row.fingerprint, 0.0))
    known = {row.label: row for row in done}
    found = [known[one.label] for one in listed]
    assert len(found) == len({row.fingerprint for row in found}) == min(count, len(best))
    assert [row.objective for row in found] == sorted(best.values(), reverse=True)[:count]
    for row, one in zip(found, listed, strict=True):
        assert one.recipe.to_document() == row.recipe
        assert one.phase == "layers"


def test_where_rounds_had_items_of_their_own_leaders_come_first_and_then_the_last_rounds() -> None:
    rows = [
        make_row(0, 0, 0.9, "done", round=0),
        make_row(1, 1, 0.2, "done", round=0),
        make_row(2, 2, 0.1, "done", round=1),
    ]
    listed = short_list(rows, build("random"), SPACE, 3, leaders=["candidate 1", "zoo:sort"])
    assert [one.label for one in listed] == ["candidate 1", "candidate 2", "candidate 0"]


def test_a_searchers_own_recommendation_is_called_by_its_phase() -> None:
    rows = [make_row(0, 0, 0.5, "done")]
    *_, last = short_list(rows, build("cma", 0.5), SPACE, 1, phase="layers")
    assert last.label == "distribution mean of layers"
    assert SPACE.decode(build("cma", 0.5).recommend()[0]) == last.recipe
