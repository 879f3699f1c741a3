"""Who is worth a second look after a search, and who is best on items it never saw."""

from collections.abc import Sequence

from evomerge.errors import EvaluationError
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.front import choose_compromise, choose_spread, find_distinct
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
    first, and then of the last rounds' best. Of several goals it is the front, spread out.

    Args:
        rows: of the search.
        searcher: when it has been told everything.
        genome: decodes its recommendation.
        count: how many, besides the recommendation; so many for each of several goals.
        leaders: labels of those that led the search, the latest first, where every round had its
            own items.
        phase: what people call this part of a search of several.
    """
    done = [row for row in rows if row.objective is not None]
    if not done:
        return []
    done = [row for row in done if row.state != RACED_OUT] or done
    order = sorted(done, key=lambda row: (row.violation, -(row.objective or 0.0), row.number))
    if leaders is not None:
        place = {label: k for k, label in enumerate(leaders)}
        order = sorted(order, key=lambda row: (place.get(row.label, len(place)), -row.round))
    distinct, goals = find_distinct(order), len(order[0].goals)
    best = choose_spread(distinct, count * goals) if goals else distinct[:count]
    listed = [Trial(row.label, parse_recipe(dict(row.recipe))[0], phase=phase) for row in best]
    mean = "distribution mean" + f" of {phase}" * bool(phase)
    points = searcher.recommend()
    names = [f"{mean} {k + 1}" for k in range(len(points))] if len(points) > 1 else [mean]
    return listed + [
        Trial(name, genome.decode(point), phase=phase)
        for name, point in zip(names, points, strict=False)  # there may be none
    ]


def widen(finalists: Sequence[Trial], rows: Sequence[CandidateRow], count: int) -> list[Trial]:
    """Return the front of a whole search of several goals, and who else was listed.

    A phase that refines one merge finds the front around that merge only.

    Args:
        finalists: the short list of the last phase, and the winners of those before it.
        rows: of the search, all phases.
        count: how many for each goal.
    """
    done = find_distinct([row for row in rows if row.state == "done" and row.goals])
    found = choose_spread(done, count * len(done[0].goals)) if done else []
    front = {r.label: Trial(r.label, parse_recipe(dict(r.recipe))[0], phase=r.phase) for r in found}
    return [*front.values(), *(trial for trial in finalists if trial.label not in front)]


def choose_winner(
    finalists: Sequence[Trial],
    trials: Trials,
    progress: Progress | None = None,
    *,
    stage: str = "validation",
    round_: int = 0,
) -> tuple[Trial, Evaluated]:
    """Re-evaluate the short list on validation items and return the best of it.

    Of several goals that is the knee of the front.

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
    if len(results[place].objectives) > 1:
        place = choose_compromise(results)
    return finalists[place], results[place]
