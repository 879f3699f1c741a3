"""The end of a run: re-evaluate the short list, face the baselines, write the winner once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from evomerge.checkpoints.reader import Checkpoint
from evomerge.checkpoints.writer import write_text
from evomerge.config import RunConfig
from evomerge.engine import merge
from evomerge.errors import EvaluationError, OutputError
from evomerge.evaluation.audit import find_suspicions
from evomerge.evolve.baselines import default_trials, parent_trials
from evomerge.evolve.comparison import Scores
from evomerge.evolve.confirmation import confirm
from evomerge.evolve.trials import Trial, Trials
from evomerge.evolve.verdict import Verdict, reach_verdict
from evomerge.genome import ParameterSpace
from evomerge.recipe import Recipe, parse_recipe
from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.store import RACED_OUT, CandidateRow
from evomerge.types import Progress

BEST = "best"
CARD = "README.md"


def short_list(
    rows: Sequence[CandidateRow],
    searcher: Searcher,
    genome: ParameterSpace,
    count: int,
    *,
    leaders: Sequence[str] | None = None,
) -> list[Trial]:
    """Return the best distinct merges of the search, and what the searcher itself recommends.

    What was raced out is listed only where nothing else is. Scores of rounds that had their own
    items cannot be compared: there the list is made of those that led the search, the latest
    first, and then of the last rounds' best.

    Args:
        rows: of the search.
        searcher: when it has been told everything.
        genome: decodes its recommendation.
        count: how many, besides the recommendation.
        leaders: labels of those that led the search, the latest first, where every round had its
            own items.

    Raises:
        EvaluationError: no candidate of the search succeeded.
    """
    done = [row for row in rows if row.objective is not None]
    if not done:
        reason = next((row.error for row in rows if row.error), "no candidate was evaluated")
        raise EvaluationError(f"all {len(rows)} candidates failed; the first: {reason}")
    done = [row for row in done if row.state != RACED_OUT] or done
    order = sorted(done, key=lambda row: (-(row.objective or 0.0), row.number))
    if leaders is not None:
        place = {label: k for k, label in enumerate(leaders)}
        order = sorted(order, key=lambda row: (place.get(row.label, len(place)), -row.round))
    distinct: dict[str, CandidateRow] = {}
    for row in order:
        distinct.setdefault(row.fingerprint, row)
    best = list(distinct.values())[:count]
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


def face_baselines(
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
    audits = [trials.audit(row.fingerprint, "test") for row in rows]
    return reach_verdict(
        trials.tasks,
        entries,
        search_score=search_score,
        validation_score=validation_score,
        marks=[task.mark for task in trials.tasks if task.mark],
        failures=describe_failures(trials.store.candidates("search")),
        flags=find_suspicions(audits[0], audits[1 : 1 + len(parents)]),
    )


def export(
    recipe: Recipe,
    folder: Path,
    config: RunConfig,
    *,
    verdict: Verdict,
    scores: Scores,
    progress: Progress | None = None,
) -> tuple[Path, Verdict]:
    """Write the winner to `folder`/best, read it back, and score what was written.

    Args:
        recipe: of the winner.
        folder: of the run.
        config: of the run.
        verdict: on the winner as it was in memory.
        scores: its scores on the test items.
        progress: told of every tensor.

    Returns:
        The winner's folder, and the verdict that also tells how it was scored.

    Raises:
        OutputError: what was written is not what was planned.
    """
    best = merge(
        recipe,
        folder / BEST,
        seed=config.seed,
        replace=True,
        verdict=verdict.sentence,
        progress=progress,
    )
    if not Checkpoint(str(best)).entries:
        raise OutputError(f"{best} holds no tensors after the export")
    confirmed = verdict.add_check(*confirm(best, config, scores, progress))
    card = best / CARD
    text = card.read_text(encoding="utf-8")
    write_text(card, text.replace(verdict.sentence, confirmed.sentence, 1))
    return best, confirmed


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
