"""Stores of every older shape become stores of the newest; newer ones are refused."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from evomerge.errors import StoreError
from evomerge.store import FILE, open_store
from evomerge.store.migrations import STEPS, migrate


def shape(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY 1")]
    columns = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in tables}
    return [(name, *map(str, found)) for name, found in columns.items()]


def store_of_shape(file: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, closing(sqlite3.connect(file)) as connection:
        connection.isolation_level = None
        patch.setattr("evomerge.store.migrations.STEPS", STEPS[:steps])
        migrate(connection)


@pytest.mark.parametrize("steps", range(len(STEPS)))
def test_store_of_an_older_shape_is_brought_to_the_newest(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of_shape(tmp_path / FILE, steps, monkeypatch)
    store_of_shape(tmp_path / "new.db", len(STEPS), monkeypatch)
    with open_store(tmp_path, write=True) as store:
        store.create("old", config={}, seed=0, models={}, versions={}, tasks={})
        store.add_cost(1.0, 2.0)
        run = store.run()
    assert run is not None
    assert run.wall_seconds == 1.0
    with (
        closing(sqlite3.connect(tmp_path / FILE)) as old,
        closing(sqlite3.connect(tmp_path / "new.db")) as new,
    ):
        assert shape(old) == shape(new)
        done = old.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()
    assert done == [(k, step.__name__) for k, step in enumerate(STEPS, start=1)]


def test_records_of_the_first_shape_survive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of_shape(tmp_path / FILE, 1, monkeypatch)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO run (id, name, config, seed, models, versions, state, created)"
            " VALUES (1, 'old', '{}', 7, '{}', '{}', 'running', 12.5)"
        )
        connection.execute(
            "INSERT INTO candidates"
            " (number, round, stage, label, recipe, fingerprint, state, asked)"
            " VALUES (0, 0, 'search', 'candidate 0', '{}', 'f', 'done', 12.5)"
        )
    with open_store(tmp_path) as store:
        run = store.run()
        [candidate] = store.candidates()
    found = (candidate.goals, candidate.violation, candidate.origin, candidate.elite)
    assert found == ({}, 0.0, {}, "")
    assert run is not None
    assert (run.name, run.seed, run.created) == ("old", 7, 12.5)
    assert (run.wall_seconds, run.cpu_seconds) == (0, 0)


def test_step_that_fails_leaves_the_older_shape_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def m003_breaks(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("the power went")

    with open_store(tmp_path, write=True):
        pass
    monkeypatch.setattr("evomerge.store.migrations.STEPS", [*STEPS, m003_breaks])
    with pytest.raises(StoreError, match="the power went"), open_store(tmp_path):
        pass
    monkeypatch.undo()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert not [entry for entry in shape(connection) if entry[0] == "half"]
    with open_store(tmp_path) as store:
        assert store.run() is None


def test_store_of_a_newer_program_is_refused_and_not_called_damaged(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True):
        pass
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'm999_future')")
    with (
        pytest.raises(
            StoreError,
            match=rf"written by a newer evomerge \(shape 999, this one knows {len(STEPS)}\)"
            r"\. Update evomerge",
        ),
        open_store(tmp_path),
    ):
        pass


def test_steps_are_numbered_in_their_names_without_gaps() -> None:
    numbers = [int(step.__name__[1:4]) for step in STEPS]
    assert numbers == list(range(1, len(STEPS) + 1))
    assert all(step.__doc__ for step in STEPS)


def test_two_processes_that_open_a_new_store_at_once_take_each_step_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from evomerge.store import open_store\n"
        "sys.stdin.read(1)\n"
        "with open_store(Path('.')) as store: store.run()"
    )
    sqlite3.connect(tmp_path / "store.db").close()
    (tmp_path / "store.db").touch()
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("x")
        opener.stdin.flush()
    for opener in openers:
        _, err = opener.communicate(timeout=60)
        assert opener.returncode == 0, err
