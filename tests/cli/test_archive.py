"""`evomerge show --archive` and `export --aggregate`: what was kept, what for; all of it in one."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

Write = Callable[..., Path]
CYCLE = {"algorithm": "cycle_qd", "evaluations": 12, "batch": 4, "first": 4}


def test_archive_is_a_table_of_who_was_kept_and_what_for(evomerge: Any, write_goals: Write) -> None:
    write_goals(search=CYCLE)
    assert evomerge("evolve", "first.yml").code == 0
    told = json.loads(evomerge("show", "first", "--archive", "--json").out)
    assert told == sorted(told, key=lambda row: -row["score"])
    assert {"candidate", "score", "low", "high", "kept for", "born"} == set(told[0])
    assert any(row["kept for"].startswith("low, cell ") for row in told)
    assert any("high, cell " in row["kept for"] for row in told)
    shown = evomerge("show", "first", "--archive").out
    assert f"The archive: {len(told)} candidates" in shown
    assert all(row["born"] in shown for row in told)


def test_a_run_without_an_archive_says_who_keeps_one(evomerge: Any, write_run: Write) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    answer = evomerge("show", "first", "--archive")
    assert answer.code == 1
    assert answer.error == (
        "the run has no archive: its searcher keeps none, or the search has not ended. "
        "natural_niches, cycle_qd and map_elites keep one; `evomerge resume` ends a search"
    )


@pytest.mark.parametrize("weighing", ["equal", "quality"])
def test_elites_are_averaged_into_one_folder(
    evomerge: Any, write_goals: Write, weighing: str, tmp_path: Path
) -> None:
    write_goals(search=CYCLE)
    evomerge("evolve", "first.yml")
    answer = evomerge("export", "first", "out", "--elites", "--aggregate", weighing)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "out/aggregate"
    assert load_file(tmp_path / "out" / "aggregate" / "model.safetensors")
    card = (tmp_path / "out" / "aggregate" / "README.md").read_text()
    how = "in proportion to their scores" if weighing == "quality" else "in equal parts"
    assert f"The average, {how}, of candidates of the evomerge run `first`" in card
    again = evomerge("export", "first", "out", "--elites", "--aggregate", weighing)
    assert "exists" in again.error


def test_odd_wishes_for_an_average_are_refused(evomerge: Any, write_run: Write) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    answer = evomerge("export", "first", "out", "--elites", "--aggregate", "best")
    assert answer.code == 2
    assert "--aggregate is equal or quality, not 'best'" in answer.err
    answer = evomerge("export", "first", "out", "--elites", "--aggregate", "equal")
    assert answer.code == 1
    assert answer.error.startswith("the run has no elites: its searcher keeps no archive")


def test_archive_of_an_unfinished_search_is_not_there_yet(
    evomerge: Any, write_goals: Write
) -> None:
    write_goals(search=CYCLE)
    evomerge("evolve", "first.yml")
    with closing(sqlite3.connect("runs/first/store.db")) as store, store:
        store.execute("UPDATE candidates SET elite = ''")
    assert "the search has not ended" in evomerge("show", "first", "--archive").error
