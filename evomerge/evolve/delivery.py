"""Candidates of a run as ordinary folders, each with a card that says which one it is."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evomerge.checkpoints.writer import check_target
from evomerge.config import RunConfig
from evomerge.engine import Models
from evomerge.errors import StoreError, UnknownName
from evomerge.evolve.build import is_compact_form
from evomerge.evolve.finish import write_merge
from evomerge.evolve.front import find_distinct, find_front
from evomerge.recipe import parse_recipe
from evomerge.store import RACED_OUT, CandidateRow, RunRow
from evomerge.types import Progress

MEASURED = ("search", "validation", "test")
"""Stages whose scores a card tells."""


def find_candidates(rows: Sequence[CandidateRow], numbers: Sequence[int]) -> list[CandidateRow]:
    """Return candidates of the search by their numbers.

    Raises:
        UnknownName: there is none of that number.
    """
    known = {row.label: row for row in rows if row.stage == "search"}
    for number in numbers:
        if f"candidate {number}" not in known:
            has = f"It has 0 to {len(known) - 1}" if known else "It has none yet"
            raise UnknownName(f"the run has no candidate {number}", has)
    return [known[f"candidate {number}"] for number in dict.fromkeys(numbers)]


def find_front_rows(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """Return the front on validation items, or that of the search where there is none yet.

    Raises:
        StoreError: the run has one goal, or nothing was measured yet.
    """
    for stage in ("validation", "search"):
        if front := find_front([row for row in rows if row.stage == stage]):
            return list(front.rows)
    raise StoreError(
        "the run has no front: it has one goal, or nothing was measured yet",
        "Take --candidate with a number that `evomerge show` tells",
    )


def find_elites(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """Return what the archive of the search kept to the end.

    Raises:
        StoreError: its searcher keeps none, or the search goes on.
    """
    if kept := find_distinct([row for row in rows if row.elite]):
        return kept
    raise StoreError(
        "the run has no elites: its searcher keeps no archive, or the search has not ended",
        "Take --candidate with a number that `evomerge show` tells, or `evomerge resume` it",
    )


def deliver(
    run: RunRow,
    rows: Sequence[CandidateRow],
    chosen: Sequence[CandidateRow],
    out: Path,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """Write candidates to folders, one each, named by its label; yield them as they are done.

    Args:
        run: whose candidates they are.
        rows: all of the run, for what is known of a merge.
        chosen: which to write.
        out: where their folders go.
        replace: whether existing folders are replaced.
        progress: told of every tensor.

    Raises:
        OutputError: a folder exists already, found before any is written.
        StoreError: a model was changed since the run began.
    """
    config = RunConfig.model_validate(run.config)
    targets = [out / re.sub(r"[^\w.+-]+", "-", row.label) for row in chosen]
    for target in targets:
        check_target(target, replace=replace)
    refuse_changed(run)
    for row, target in zip(chosen, targets, strict=True):
        recipe, _ = parse_recipe(dict(row.recipe))
        folder, _ = write_merge(
            recipe,
            target,
            config,
            told=describe(run, rows, row),
            compact=is_compact_form(recipe, config.genome),
            replace=replace,
            progress=progress,
        )
        yield folder


def describe(run: RunRow, rows: Sequence[CandidateRow], chosen: CandidateRow) -> str:
    """Say which candidate of which run a merge is, and what it scored, in Markdown."""
    kept = f" It was kept because: {chosen.elite}." if chosen.elite else ""
    lines = [f"{chosen.label[0].upper()}{chosen.label[1:]} of the evomerge run `{run.name}`.{kept}"]
    same = [row for row in rows if row.fingerprint == chosen.fingerprint and row.stage in MEASURED]
    told = dict.fromkeys(map(_describe_score, same))
    return "\n".join([*lines, *([""] if told else []), *(f"- {line}" for line in told)])


def _describe_score(row: CandidateRow) -> str:
    if row.objective is None:
        return f"{row.stage} items: not measured{f' ({row.error})' if row.error else ''}"
    goals = ", ".join(f"{name} {value:.4g}" for name, value in row.goals.items())
    guess = ", an estimate: it was dropped before it had met the others" * (row.state == RACED_OUT)
    missed = f"; bounds missed by {row.violation:.4g}" if row.violation else ""
    parts = f" ({goals})" if goals else ""
    return f"{row.items} {row.stage} items: {row.objective:.4g}{parts}{guess}{missed}"


def refuse_changed(run: RunRow) -> None:
    """Raise a StoreError if a model is not what it was when the run began."""
    models = Models()
    for name, seen in run.models.items():
        if models[name].fingerprint != seen["fingerprint"]:
            raise StoreError(
                f"{name} was changed since the run {run.name!r} began",
                "Put the old files back: the candidates were made of them",
            )
