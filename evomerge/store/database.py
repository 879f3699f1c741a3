"""Open, lock and write the run store.

SQLite in WAL mode, every commit synced: what was committed survives a killed process and a power
cut. One process at a time may write; readers never wait.
"""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evomerge.errors import StoreError
from evomerge.store.lock import LOCK
from evomerge.store.migrations import migrate
from evomerge.store.queries import CandidateRow, RunRow, read_candidates, read_run, read_scores

FILE = "store.db"
RACED_OUT = "raced out"
"""State of a candidate that met only some of its items, for its rival was clearly better."""
WAIT = 30.0
"""Seconds to wait for another process's transaction."""


@contextmanager
def open_store(folder: Path, *, write: bool = False) -> "Iterator[RunStore]":
    """Open the store of a run folder.

    Args:
        folder: the run's folder.
        write: take the run's lock; the folder and the store are made if absent.

    Raises:
        StoreError: no such run, another process has it, or the file is damaged or unwritable.
    """
    lock = _lock(folder) if write else None
    try:
        connection = _connect(folder / FILE, write=write)
        try:
            yield RunStore(folder, connection)
        finally:
            connection.close()
    finally:
        if lock is not None:
            os.close(lock)


class RunStore:
    """One run's records; every method is one transaction, and so is all that is `together`.

    Args:
        folder: the run's folder.
        connection: to its store.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self.on_commit: Callable[[], None] = lambda: None
        self._is_together = False

    def run(self) -> RunRow | None:
        """Return the run, None before `create`."""
        with _store_errors(self.folder):
            return read_run(self._connection)

    def create(
        self, name: str, *, config: Mapping[str, Any], seed: int,
        models: Mapping[str, Any], versions: Mapping[str, str], tasks: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Record a new run."""
        row = (
            name, _text(config), seed, _text(models), _text(versions), "running", time.time(),
            _text(tasks),
        )  # fmt: skip
        with self._transaction() as write:
            write(
                "INSERT INTO run (id, name, config, seed, models, versions, state, created, tasks)"
                " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def finish(self, state: str, verdict: Mapping[str, Any] | None = None) -> None:
        """Record how the run ended."""
        with self._transaction() as write:
            write(
                "UPDATE run SET state = ?, finished = ?, verdict = COALESCE(?, verdict)",
                (state, time.time(), _text(verdict) if verdict else None),
            )

    def add_cost(self, wall: float, cpu: float) -> None:
        """Add a sitting's wall and CPU seconds."""
        with self._transaction() as write:
            write(
                "UPDATE run SET wall_seconds = wall_seconds + ?, cpu_seconds = cpu_seconds + ?",
                (wall, cpu),
            )

    def ask(self, rows: Sequence[CandidateRow]) -> None:
        """Record a batch of candidates that are about to be evaluated."""
        now = time.time()
        with self._transaction() as write:
            for row in rows:
                genome = _text(list(row.genome)) if row.genome is not None else None
                write(
                    "INSERT INTO candidates (number, round, stage, phase, label, genome, recipe,"
                    " fingerprint, origin, state, asked)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'asked', ?)",
                    (row.number, row.round, row.stage, row.phase, row.label, genome,
                     _text(row.recipe), row.fingerprint, _text(row.origin), now),
                )  # fmt: skip

    def record(  # noqa: PLR0913 - all that becomes of a merge, in one transaction
        self,
        numbers: Iterable[int],
        fingerprint: str,
        scores: Mapping[str, Mapping[str, float]],
        *,
        objective: float | None,
        items: int,
        error: str = "",
        seconds: Mapping[str, float] | None = None,
        audit: Mapping[str, Mapping[str, float]] | None = None,
        rival: str = "",
        layers: tuple[int, int] = (0, 0),
        goals: Mapping[str, float] | None = None,
        violation: float = 0.0,
    ) -> None:
        """Record what became of a merge, for every candidate that it is.

        Args:
            numbers: the candidates (equal merges are evaluated once).
            fingerprint: the merge.
            scores: evaluator key -> item key -> score; pairs known already are left as they are.
            objective: higher is better; None for a failure.
            items: on how many items it rests.
            error: why it failed.
            seconds: stage -> wall seconds.
            audit: task -> measure -> value, what looks wrong about its answers.
            rival: who was clearly better, where the merge was raced out.
            layers: run, and asked for; told with the first of the candidates.
            goals: goal -> objective, where there are several.
            violation: by how much bounds are missed.
        """
        state = "failed" if error else RACED_OUT if rival else "done"
        with self._transaction() as write:
            for evaluator, found in scores.items():
                for item, score in found.items():
                    write(
                        "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?)",
                        (fingerprint, evaluator, item, score),
                    )
            for place, number in enumerate(numbers):
                run, asked = (0, 0) if place else layers
                write(
                    "UPDATE candidates SET state = ?, objective = ?, items = ?, error = ?,"
                    " seconds = ?, audit = ?, rival = ?, layers_run = layers_run + ?,"
                    " layers_asked = layers_asked + ?, goals = ?, violation = ?, finished = ?"
                    " WHERE number = ?",
                    (state, objective, items, error, _text(seconds or {}), _text(audit or {}),
                     rival, run, asked, _text(goals or {}), violation, time.time(), number),
                )  # fmt: skip

    def keep(self, elites: Mapping[int, str]) -> None:
        """Record why candidates, by number, are in the archive that the search ends with."""
        with self._transaction() as write:
            for number, why in elites.items():
                write("UPDATE candidates SET elite = ? WHERE number = ?", (why, number))

    def spend(self, round_: int, seconds: float, *, finished: bool) -> None:
        """Add wall seconds to a round of the search; one that was finished before stays as it is.

        Args:
            round_: its number.
            seconds: of this sitting.
            finished: whether the round is over; else it was interrupted.
        """
        with self._transaction() as write:
            write(
                "INSERT INTO rounds VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
                " seconds = seconds + excluded.seconds, finished = excluded.finished"
                " WHERE NOT finished",
                (round_, seconds, finished),
            )

    def round_seconds(self, before: int) -> float:
        """Return the wall seconds of all rounds of the search that come before a number."""
        with _store_errors(self.folder):
            query = "SELECT TOTAL(seconds) FROM rounds WHERE number < ?"
            (spent,) = self._connection.execute(query, (before,)).fetchone()
        return float(spent)

    def candidates(
        self,
        stage: str | None = None,
        round_: int | None = None,
        *,
        fingerprint: str | None = None,
    ) -> list[CandidateRow]:
        """Return candidates in order of asking; of a stage, a round, a merge if these are given."""
        with _store_errors(self.folder):
            return read_candidates(
                self._connection, stage=stage, round_=round_, fingerprint=fingerprint
            )

    def count(self) -> int:
        """Return the number of candidates of all stages."""
        with _store_errors(self.folder):
            (count,) = self._connection.execute("SELECT COUNT(*) FROM candidates").fetchone()
        return int(count)

    def scores(self, fingerprint: str, evaluator: str) -> dict[str, float]:
        """Return item key -> score of a merge under an evaluator."""
        with _store_errors(self.folder):
            return read_scores(self._connection, fingerprint, evaluator)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all that is written inside one transaction."""
        with self._transaction():
            self._is_together = True
            try:
                yield
            finally:
                self._is_together = False

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., Any]]:
        if self._is_together:
            yield self._connection.execute
            return
        with _store_errors(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        self.on_commit()


def _connect(file: Path, *, write: bool) -> sqlite3.Connection:
    if not write and not file.exists():
        raise StoreError(f"{file.parent} holds no run", "See `evomerge runs` for those there are")
    with _store_errors(file.parent):
        connection = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
        try:
            _make_ready(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_ready(connection: sqlite3.Connection) -> None:
    _log_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound.splitlines()[-1])
    migrate(connection)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turn to WAL mode. SQLite does not wait for others here, whatever the connection's timeout."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _lock(folder: Path) -> int:
    with _store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(
            f"another process is working on {folder}", "Wait for it, or stop it first"
        ) from None
    return handle


@contextmanager
def _store_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = (
            "Free some space, then `evomerge resume`" if "full" in str(error) else "Check the disk"
        )
        raise StoreError(f"the store in {folder} cannot be used: {error}", hint) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"the store in {folder} is damaged: {error}", "Restore it from a backup"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error.strerror or error}", "Choose another --runs folder"
        ) from error


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
