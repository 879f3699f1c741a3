"""The store's shape, grown by numbered steps. Steps are appended, never edited.

Each step runs in a transaction together with the record that it ran.
"""

import sqlite3
from collections.abc import Callable

from evomerge.errors import StoreError

Step = Callable[[sqlite3.Connection], None]
STEPS: list[Step] = []


def step(function: Step) -> Step:
    """Append a step."""
    STEPS.append(function)
    return function


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store to the newest shape; every step exactly once.

    Raises:
        StoreError: a newer program made it.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT)"
    )
    done = _count_done(connection)
    if done > len(STEPS):
        raise StoreError(
            "the store was written by a newer evomerge "
            f"(shape {done}, this one knows {len(STEPS)})",
            "Update evomerge",
        )
    for number in range(done + 1, len(STEPS) + 1):
        _take_step(connection, number)


def _count_done(connection: sqlite3.Connection) -> int:
    (done,) = connection.execute("SELECT COALESCE(MAX(number), 0) FROM migrations").fetchone()
    return int(done)


def _take_step(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _count_done(connection) < number:  # else another process took it meanwhile
            function = STEPS[number - 1]
            function(connection)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (number, function.__name__))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@step
def m001_initial(connection: sqlite3.Connection) -> None:
    """Run, candidates and scores."""
    connection.execute(
        """CREATE TABLE run (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            name TEXT NOT NULL,
            config TEXT NOT NULL,
            seed INTEGER NOT NULL,
            models TEXT NOT NULL,
            versions TEXT NOT NULL,
            state TEXT NOT NULL,
            created REAL NOT NULL,
            finished REAL,
            verdict TEXT
        )"""
    )
    connection.execute(
        """CREATE TABLE candidates (
            number INTEGER PRIMARY KEY,
            round INTEGER NOT NULL,
            stage TEXT NOT NULL,
            label TEXT NOT NULL,
            genome TEXT,
            recipe TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            state TEXT NOT NULL,
            objective REAL,
            items INTEGER,
            error TEXT,
            seconds TEXT,
            asked REAL NOT NULL,
            finished REAL
        )"""
    )
    connection.execute("CREATE INDEX candidates_round ON candidates (stage, round)")
    connection.execute(
        """CREATE TABLE scores (
            fingerprint TEXT NOT NULL,
            evaluator TEXT NOT NULL,
            item TEXT NOT NULL,
            score REAL NOT NULL,
            PRIMARY KEY (fingerprint, evaluator, item)
        ) WITHOUT ROWID"""
    )


@step
def m002_effort(connection: sqlite3.Connection) -> None:
    """Wall and CPU seconds over all sittings of a run."""
    connection.execute("ALTER TABLE run ADD COLUMN wall_seconds REAL NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE run ADD COLUMN cpu_seconds REAL NOT NULL DEFAULT 0")


@step
def m003_tasks(connection: sqlite3.Connection) -> None:
    """What every task looked like when the run began: its evaluator and its items."""
    connection.execute("ALTER TABLE run ADD COLUMN tasks TEXT NOT NULL DEFAULT '{}'")


@step
def m004_audit(connection: sqlite3.Connection) -> None:
    """What looks wrong about a candidate's answers: task -> measure -> value."""
    connection.execute("ALTER TABLE candidates ADD COLUMN audit TEXT NOT NULL DEFAULT '{}'")


@step
def m005_rival(connection: sqlite3.Connection) -> None:
    """Against whom a candidate was raced out; such a one has the state 'raced out'."""
    connection.execute("ALTER TABLE candidates ADD COLUMN rival TEXT NOT NULL DEFAULT ''")


@step
def m006_phases(connection: sqlite3.Connection) -> None:
    """Which part of a search asked for a candidate; layers run for it, and asked for."""
    connection.execute("ALTER TABLE candidates ADD COLUMN phase TEXT NOT NULL DEFAULT ''")
    for name in ("layers_run", "layers_asked"):
        connection.execute(f"ALTER TABLE candidates ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")


@step
def m007_goals(connection: sqlite3.Connection) -> None:
    """One number per goal, by how much bounds are missed, where from, and why it was kept."""
    connection.execute("ALTER TABLE candidates ADD COLUMN goals TEXT NOT NULL DEFAULT '{}'")
    connection.execute("ALTER TABLE candidates ADD COLUMN violation REAL NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE candidates ADD COLUMN origin TEXT NOT NULL DEFAULT '{}'")
    connection.execute("ALTER TABLE candidates ADD COLUMN elite TEXT NOT NULL DEFAULT ''")


@step
def m008_rounds(connection: sqlite3.Connection) -> None:
    """Wall seconds that each round of the search took, over all sittings."""
    connection.execute(
        """CREATE TABLE rounds (
            number INTEGER PRIMARY KEY,
            seconds REAL NOT NULL,
            finished INTEGER NOT NULL
        )"""
    )


@step
def m009_merges(connection: sqlite3.Connection) -> None:
    """Find what is known of a merge without reading every candidate."""
    connection.execute("CREATE INDEX candidates_merge ON candidates (fingerprint, stage)")
