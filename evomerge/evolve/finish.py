"""The end of a run: the winner faces the baselines on untouched items, and is written once."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from evomerge.checkpoints.loading import find_device
from evomerge.checkpoints.reader import Checkpoint
from evomerge.checkpoints.writer import write_text
from evomerge.config import RunConfig
from evomerge.engine import merge
from evomerge.errors import (
    CheckpointError,
    EvaluationError,
    EvoMergeException,
    OutputError,
    RecipeError,
)
from evomerge.evaluation.audit import find_suspicions
from evomerge.evolve.comparison import Scores
from evomerge.evolve.confirmation import confirm
from evomerge.evolve.drift import Drift, collect_texts
from evomerge.evolve.drift_record import record_drift
from evomerge.evolve.origins import say_origin
from evomerge.evolve.tasks import build_tasks
from evomerge.evolve.trials import Trial, Trials
from evomerge.evolve.verdict import Verdict, reach_verdict
from evomerge.recipe import Recipe, is_path
from evomerge.recipe.path import describe_path, has_scales
from evomerge.store import RACED_OUT, CandidateRow
from evomerge.types import Progress

logger = logging.getLogger(__name__)

BEST = "best"
CARD = "README.md"
UNBAKED = (
    "The path is written in the compact form, loaded with `trust_remote_code=True`: "
    "its scales could not be baked into the weights ({reason})."
)


def face_baselines(
    winner: Trial,
    parents: Sequence[Trial],
    defaults: Sequence[Trial],
    trials: Trials,
    *,
    search_score: float | None,
    validation_score: float,
    progress: Progress | None = None,
) -> Verdict:
    """Evaluate winner, parents and default recipes on the untouched test items; judge."""
    everyone = [winner, *parents, *defaults]
    _begin(progress, "test", len(everyone))
    results = trials.run("test", 0, everyone, "test")
    _end(progress)
    kinds = ["winner"] + ["parent"] * len(parents) + ["default"] * len(defaults)
    rows = trials.store.candidates("test", 0)
    entries = [
        (trial.label, kind, result.failure or trials.item_scores(row.fingerprint, "test"))
        for trial, kind, result, row in zip(everyone, kinds, results, rows, strict=True)
    ]
    if results[0].failure:
        raise EvaluationError(f"the winner could not be tested: {results[0].failure}")
    audits = [trials.audit(row.fingerprint, "test") for row in rows]
    verdict = reach_verdict(
        trials.tasks,
        entries,
        search_score=search_score,
        validation_score=validation_score,
        marks=[task.mark for task in trials.tasks if task.mark],
        failures=describe_failures(trials.store.candidates("search")),
        flags=find_suspicions(audits[0], audits[1 : 1 + len(parents)]),
    )
    found = [row for row in trials.store.candidates("search") if row.label == winner.label]
    said = say_origin(winner.label, found[0].origin) if found else ""
    return replace(
        verdict,
        sentence=" ".join(filter(None, [verdict.sentence, said])),
        path=describe_path(winner.recipe) if is_path(winner.recipe) else "",
    )


def export(
    recipe: Recipe,
    folder: Path,
    config: RunConfig,
    *,
    verdict: Verdict,
    scores: Scores,
    compact: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, Verdict]:
    """Write the winner to `folder`/best, read it back, and score what was written.

    A path whose scales do not fit into the weights is written compact: what was found is kept.

    Args:
        recipe: of the winner.
        folder: of the run.
        config: of the run.
        verdict: on the winner as it was in memory.
        scores: its scores on the test items.
        compact: whether a path keeps every layer once.
        progress: told of every tensor.

    Returns:
        The winner's folder, and the verdict that also tells how it was scored.

    Raises:
        OutputError: what was written is not what was planned.
    """
    best, note = write_merge(
        recipe,
        folder / BEST,
        config,
        told=verdict.sentence,
        compact=compact,
        replace=True,
        progress=progress,
    )
    verdict = verdict.add_check(note, ()) if note else verdict
    baked = has_scales(recipe) and not compact and not note
    if not Checkpoint(str(best)).entries:
        raise OutputError(f"{best} holds no tensors after the export")
    drift = _measure_drift(recipe, best, config, progress) if baked else None
    confirmed = verdict.add_check(*confirm(best, config, scores, progress))
    card = best / CARD
    text = card.read_text(encoding="utf-8")
    write_text(card, text.replace(verdict.sentence, confirmed.sentence, 1))
    return best, replace(confirmed, drift=drift.to_values() if drift else None)


def write_merge(
    recipe: Recipe,
    target: Path,
    config: RunConfig,
    *,
    told: str,
    compact: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, str]:
    """Merge as a run does; a path whose scales do not fit into the weights is written compact.

    Args:
        recipe: of the merge.
        target: the folder to make.
        config: of the run.
        told: what its card says of it, Markdown.
        compact: whether a path keeps every layer once.
        replace: whether an existing folder is replaced.
        progress: told of every tensor.

    Returns:
        The folder, and why it is compact although it was not to be; empty where it is not.
    """
    try:
        folder = merge(
            recipe,
            target,
            seed=config.seed,
            replace=replace,
            compact=compact,
            verdict=told,
            progress=progress,
        )
    except (CheckpointError, RecipeError) as error:
        if compact or not has_scales(recipe):
            raise
        note = UNBAKED.format(reason=" ".join(str(error).split()))
        logger.warning("%s", note)
        folder, _ = write_merge(
            recipe,
            target,
            config,
            told=f"{told} {note}",
            compact=True,
            replace=replace,
            progress=progress,
        )
        return folder, note
    return folder, ""


def _measure_drift(
    recipe: Recipe, best: Path, config: RunConfig, progress: Progress | None
) -> Drift | None:
    """Hold the folder against the path that was judged, on what the run asks."""
    texts: list[str] = []
    device = config.executor.device or find_device()
    with suppress(EvoMergeException):  # files of items may be gone by now: random texts do as well
        texts = collect_texts(build_tasks(config))
    return record_drift(
        recipe, best, texts=texts, seed=config.seed, device=device, progress=progress
    )


def describe_failures(rows: Sequence[CandidateRow]) -> str:
    """Say how many candidates failed, and the most common reason; empty where none did."""
    reasons = Counter(row.error.splitlines()[0].rstrip(".") for row in rows if row.error)
    if not reasons:
        return ""
    (commonest, _), *others = reasons.most_common()
    mostly = "mostly: " if others else ""
    return f"{reasons.total()} of {len(rows)} candidates failed: {mostly}{commonest}."


def search_scores(rows: Sequence[CandidateRow]) -> Mapping[str, float]:
    """Return fingerprint -> objective on the search items, of what met all of them."""
    return {
        row.fingerprint: row.objective
        for row in rows
        if row.objective is not None and row.state != RACED_OUT
    }


def _begin(progress: Progress | None, label: str, total: int) -> None:
    if progress:
        progress.begin(label, total)


def _end(progress: Progress | None) -> None:
    if progress:
        progress.end()
