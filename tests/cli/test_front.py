"""`evomerge show --pareto`: fronts on the screen, their knees, how far a search has come."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evomerge.cli.front import _print_progress, draw_bars

Write = Callable[..., Path]


def test_fronts_are_shown_with_their_knees_and_their_hypervolume(
    evomerge: Any, write_goals: Write
) -> None:
    write_goals()
    assert evomerge("evolve", "first.yml").code == 0
    shown = evomerge("show", "first", "--pareto").out
    assert "The front on the items that the search saw: " in shown
    assert "The front on validation items, which the search did not see: " in shown
    assert shown.count("knee") == 2
    assert "candidate" in shown
    assert "Hypervolume: " in shown
    assert "after the first generation" in shown
    told = json.loads(evomerge("show", "first", "--pareto", "--json").out)
    assert len(told["hypervolume"]) == 2
    front = told["fronts"]["validation"]
    assert front["goals"] == ["low", "high"]
    assert front["knee"] in [c["candidate"] for c in front["candidates"]]
    assert f"knee  {front['knee'].removeprefix('candidate ')}" in shown


def test_bounds_that_are_missed_have_a_column(evomerge: Any, write_goals: Write) -> None:
    write_goals(constraints={"low": "parent + 1"})
    answer = evomerge("evolve", "first.yml")
    assert "bound on low does NOT hold" in answer.out.replace("\n", " ")
    assert "bounds missed by" in evomerge("show", "first", "--pareto").out


def test_a_run_of_one_goal_has_no_front(evomerge: Any, write_run: Write) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    answer = evomerge("show", "first", "--pareto")
    assert answer.code == 1
    assert answer.error == (
        "first has one goal, so there is no front. "
        "Name two tasks or more as `objectives` in a run file"
    )
    answer = evomerge("export", "first", "out", "--front")
    assert answer.code == 1
    assert answer.error.startswith("the run has no front: it has one goal, or nothing was measured")


def test_one_view_at_a_time(evomerge: Any) -> None:
    answer = evomerge("show", "first", "--pareto", "--archive")
    assert answer.code == 2
    assert "--pareto, --archive and --recipe show different things" in answer.err


def test_a_run_that_has_only_begun_says_to_wait(evomerge: Any, write_goals: Write) -> None:
    write_goals()
    evomerge("evolve", "first.yml")
    with closing(sqlite3.connect("runs/first/store.db")) as store, store:
        store.execute("DELETE FROM candidates WHERE stage != 'probe'")
    answer = evomerge("show", "first", "--pareto")
    assert answer.error == "no candidate of first has met all items yet. Wait for the first of them"


def test_bars_reach_from_the_least_to_the_most() -> None:
    assert draw_bars([0.9, 0.95, 1.0]) == "▁▄█"
    assert draw_bars([0.0]) == "▁"
    assert len(draw_bars([k / 999 for k in range(1000)])) <= 61


@pytest.mark.parametrize(("goals", "told"), [(4, False), (5, True)])
def test_an_estimate_is_called_one(
    goals: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_progress([0.5, 0.75], goals)
    assert ("it is an estimate, at 16384 fixed points" in capsys.readouterr().out) is told
