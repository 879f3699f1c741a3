"""Who is worth a second look after a search, and who is best on items it never saw."""

from collections.abc import Sequence

from evomerge.errors import EvaluationError
from evomerge.evolve.phases import Encoding
from evomerge.evolve.trials import Trial, Trials
from evomerge.recipe import parse_recipe
from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.store import RACED_OUT, CandidateRow
from evomerge.types import Progress


def short_list(
    rows: Sequence[CandidateRow],
    searcher: Searcher,
    genome: Encoding,
    count: int,
    *,
    leaders: Sequence[str] | None = None,
    phase: str = "",
) -> list[Trial]:
    """Return the best distinct merges of the search, and what the searcher itself recommends.

    Where no candidate succeeded, that is nothing: the searcher has learnt nothing to recommend.
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
        phase: what people call this part of a search of several.
    """
    done = [row for row in rows if row.objective is not None]
    if not done:
        return []
    done = [row for row in done if row.state != RACED_OUT] or done
    order = sorted(done, key=lambda row: (-(row.objective or 0.0), row.number))
    if leaders is not None:
        place = {label: k for k, label in enumerate(leaders)}
        order = sorted(order, key=lambda row: (place.get(row.label, len(place)), -row.round))
    distinct: dict[str, CandidateRow] = {}
    for row in order:
        distinct.setdefault(row.fingerprint, row)
    best = list(distinct.values())[:count]
    listed = [Trial(row.label, parse_recipe(dict(row.recipe))[0], phase=phase) for row in best]
    mean = "distribution mean" + f" of {phase}" * bool(phase)
    return listed + [
        Trial(mean, genome.decode(point), phase=phase) for point in searcher.recommend()
    ]


def choose_winner(
    finalists: Sequence[Trial],
    trials: Trials,
    progress: Progress | None = None,
    *,
    stage: str = "validation",
    round_: int = 0,
) -> tuple[Trial, Evaluated]:
    """Re-evaluate the short list on validation items and return the best of it.

    Args:
        finalists: the short list.
        trials: evaluates it.
        progress: told of every finished candidate.
        stage: 'validation', or 'snapshot' in the middle of a search.
        round_: number of the list within the stage.

    Raises:
        EvaluationError: none of them could be evaluated.
    """
    if progress:
        progress.begin(stage, len(finalists))
    results = trials.run(stage, round_, finalists, "validation")
    if progress:
        progress.end()
    place = max(range(len(results)), key=lambda k: (results[k].rank_key, -k))
    if results[place].failure:
        raise EvaluationError(f"no finalist could be validated: {results[place].failure}")
    return finalists[place], results[place]
