"""The end of a run: re-evaluate the short list, face the rivals, write the winner once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evomerge.checkpoints.reader import Checkpoint
from evomerge.config import RunConfig
from evomerge.engine import merge
from evomerge.errors import EvaluationError, OutputError
from evomerge.evolve.rivals import default_trials, parent_trials
from evomerge.evolve.trials import Trial, Trials
from evomerge.evolve.verdict import Verdict, reach_verdict
from evomerge.genome import ParameterSpace
from evomerge.recipe import Recipe, parse_recipe
from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.store import CandidateRow
from evomerge.types import Progress

BEST = "best"


def short_list(
    rows: Sequence[CandidateRow], searcher: Searcher, genome: ParameterSpace, count: int
) -> list[Trial]:
    """Return the best distinct merges of the search, and what the searcher itself recommends.

    Raises:
        EvaluationError: no candidate of the search succeeded.
    """
    done = [row for row in rows if row.objective is not None]
    if not done:
        reason = next((row.error for row in rows if row.error), "no candidate was evaluated")
        raise EvaluationError(f"all {len(rows)} candidates failed; the first: {reason}")
    order = sorted(done, key=lambda row: (-(row.objective or 0.0), row.number))
    first = {row.fingerprint: row for row in reversed(order)}
    best = sorted(first.values(), key=lambda row: (-(row.objective or 0.0), row.number))[:count]
    listed = [Trial(row.label, parse_recipe(dict(row.recipe))[0]) for row in best]
    mean = [Trial("distribution mean", genome.decode(point)) for point in searcher.recommend()]
    return listed + mean


def choose_winner(
    finalists: Sequence[Trial], trials: Trials, progress: Progress | None = None
) -> tuple[Trial, Evaluated]:
    """Re-evaluate the short list on validation items and return the best of it.

    Raises:
        EvaluationError: none of them could be evaluated.
    """
    _begin(progress, "validation", len(finalists))
    results = trials.run("validation", 0, finalists, "validation")
    _end(progress)
    place = max(range(len(results)), key=lambda k: (results[k].rank_key, -k))
    if results[place].failure:
        raise EvaluationError(f"no finalist could be validated: {results[place].failure}")
    return finalists[place], results[place]


def face_rivals(
    winner: Trial,
    config: RunConfig,
    trials: Trials,
    *,
    search_score: float | None,
    validation_score: float,
    progress: Progress | None = None,
) -> Verdict:
    """Evaluate winner, parents and default recipes on the untouched test items; judge."""
    parents, defaults = parent_trials(config.genome), default_trials(config.genome)
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
    return reach_verdict(
        trials.tasks, entries, search_score=search_score, validation_score=validation_score
    )


def export(
    recipe: Recipe, folder: Path, *, seed: int, verdict: Verdict, progress: Progress | None = None
) -> Path:
    """Write the winner to `folder`/best, and read it back.

    Raises:
        OutputError: what was written is not what was planned.
    """
    best = merge(
        recipe, folder / BEST, seed=seed, replace=True, verdict=verdict.sentence, progress=progress
    )
    if not Checkpoint(str(best)).entries:
        raise OutputError(f"{best} holds no tensors after the export")
    return best


def search_scores(rows: Sequence[CandidateRow]) -> Mapping[str, float]:
    """Return fingerprint -> objective on the search items."""
    return {row.fingerprint: row.objective for row in rows if row.objective is not None}


def _begin(progress: Progress | None, label: str, total: int) -> None:
    if progress:
        progress.begin(label, total)


def _end(progress: Progress | None) -> None:
    if progress:
        progress.end()
