"""Rows of the store as frozen records."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RunRow:
    """The run itself.

    Attributes:
        name: of the run.
        config: the run file as plain values.
        seed: of everything random.
        models: reference -> {fingerprint, stamp}.
        versions: package -> version it was started with.
        state: 'running', 'finished' or 'failed'.
        created: seconds since 1970.
        finished: seconds since 1970, or None.
        verdict: the verdict as plain values, or None.
        wall_seconds: over all sittings.
        cpu_seconds: over all sittings and processes.
        tasks: name -> fingerprint of evaluator and items.
    """

    name: str
    config: Mapping[str, Any]
    seed: int
    models: Mapping[str, Any]
    versions: Mapping[str, str]
    state: str
    created: float
    finished: float | None
    verdict: Mapping[str, Any] | None
    wall_seconds: float
    cpu_seconds: float
    tasks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One candidate.

    Attributes:
        number: in order of asking, from 0, over all stages.
        round: batch within its stage.
        stage: 'probe', 'search', 'rival' (the incumbent on a new batch of items), 'snapshot' (the
            best of a phase on validation items: where the next begins), 'validation' or 'test'.
        label: what people call it: 'candidate 17', 'zoo:sort', 'ties'.
        genome: point of the unit cube, or None where no genome made it.
        recipe: the recipe's document.
        fingerprint: identity of its merge.
        state: 'asked', 'done', 'raced out' or 'failed'.
        objective: higher is better; None when failed or not yet tried; an estimate when raced out.
        items: on how many items it rests.
        error: why it failed.
        seconds: stage -> wall seconds.
        audit: task -> measure -> value, what looks wrong about its answers.
        rival: who was clearly better, as people call it; empty unless raced out.
        phase: of a search in several: which of them asked for it.
        layers: how many layers were run, and how many would have been if paths shared nothing;
            what a cohort shares is told with its first candidate.
        goals: goal -> objective, higher is better; empty where there is one goal only.
        violation: by how much bounds are missed.
        origin: how it came about, 'how', and of which candidates, 'of': labels.
        elite: why the archive of the search kept it to the end; empty where it did not.
    """

    number: int
    round: int
    stage: str
    label: str
    genome: tuple[float, ...] | None
    recipe: Mapping[str, Any]
    fingerprint: str
    state: str
    objective: float | None
    items: int
    error: str
    seconds: Mapping[str, float]
    audit: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rival: str = ""
    phase: str = ""
    layers: tuple[int, int] = (0, 0)
    goals: Mapping[str, float] = field(default_factory=dict)
    violation: float = 0.0
    origin: Mapping[str, Any] = field(default_factory=dict)
    elite: str = ""


def read_run(connection: sqlite3.Connection) -> RunRow | None:
    """Return the run, or None in an empty store."""
    row = connection.execute(
        "SELECT name, config, seed, models, versions, state, created, finished, verdict,"
        " wall_seconds, cpu_seconds, tasks FROM run"
    ).fetchone()
    if row is None:
        return None
    name, config, seed, models, versions, state, created, finished, verdict, wall, cpu, tasks = row
    return RunRow(
        name, json.loads(config), seed, json.loads(models), json.loads(versions), state, created,
        finished, json.loads(verdict) if verdict else None, wall, cpu, json.loads(tasks),
    )  # fmt: skip


def read_candidates(
    connection: sqlite3.Connection,
    *,
    stage: str | None = None,
    round_: int | None = None,
    fingerprint: str | None = None,
) -> list[CandidateRow]:
    """Return candidates in order of number; of a stage, a round, a merge if these are given."""
    asked = {"stage": stage, "round": round_, "fingerprint": fingerprint}
    given = {column: value for column, value in asked.items() if value is not None}
    where = " AND ".join(f"{column} = ?" for column in given)  # so that an index is used
    rows = connection.execute(
        "SELECT number, round, stage, label, genome, recipe, fingerprint, state, objective, items,"
        " error, seconds, audit, rival, phase, layers_run, layers_asked, goals, violation, origin,"
        f" elite FROM candidates WHERE {where or 'TRUE'} ORDER BY number",
        tuple(given.values()),
    )
    return [_candidate(row) for row in rows]


def read_scores(
    connection: sqlite3.Connection, fingerprint: str, evaluator: str
) -> dict[str, float]:
    """Return item -> score, as stored, of one merge under one evaluator."""
    rows = connection.execute(
        "SELECT item, score FROM scores WHERE fingerprint = ? AND evaluator = ?",
        (fingerprint, evaluator),
    )
    return dict(rows.fetchall())


def _candidate(row: tuple[Any, ...]) -> CandidateRow:
    number, round_, stage, label, genome, recipe, fingerprint, state, objective, items, *rest = row
    error, seconds, audit, rival, phase, run, asked, goals, violation, origin, elite = rest
    return CandidateRow(
        number=number,
        round=round_,
        stage=stage,
        label=label,
        genome=tuple(json.loads(genome)) if genome else None,
        recipe=json.loads(recipe),
        fingerprint=fingerprint,
        state=state,
        objective=objective,
        items=items or 0,
        error=error or "",
        seconds=json.loads(seconds) if seconds else {},
        audit=json.loads(audit),
        rival=rival,
        phase=phase,
        layers=(run, asked),
        goals=json.loads(goals),
        violation=violation,
        origin=json.loads(origin),
        elite=elite,
    )
