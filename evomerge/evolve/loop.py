"""The search: ask, run, tell, record. Resuming is the same loop over a store that knows more."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from evomerge.evolve.best_config import Leader
from evomerge.evolve.deadline import Deadline
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.estimators import make_estimator
from evomerge.evolve.origins import name_origin
from evomerge.evolve.racing import Heat, draw_items
from evomerge.evolve.trials import RIVAL, Trial, Trials
from evomerge.records import Evaluated, Race
from evomerge.search import Searcher
from evomerge.types import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best trial so far, and what it earned on the items of the round."""

    trial: Trial
    result: Evaluated


@dataclass(frozen=True, eq=False)
class Progressed:
    """How far a search is.

    Attributes:
        incumbent: the best known so far, which met all items of some round.
        rounds: how many there have been.
        candidates: how many there have been.
        leaders: labels of those that were incumbent after some round of the last phase, the latest
            first.
    """

    incumbent: Incumbent | None = None
    rounds: int = 0
    candidates: int = 0
    leaders: Sequence[str] = field(default_factory=list)


BEGINNING = Progressed()


def search(  # noqa: PLR0913 - a part of a search, and all it begins with
    searcher: Searcher,
    genome: Encoding,
    trials: Trials,
    *,
    evaluations: int,
    after: Progressed = BEGINNING,
    phase: str = "",
    race: Race | None = None,
    batch: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Progressed:
    """Spend the budget of a phase, or as much of it as the searcher has a use for.

    Every round asks for one batch (the last one for what the budget leaves), tries it, and tells
    the results in candidate order, whenever they came. So a run that is replayed from its store
    asks for the same candidates as one that was never interrupted.

    Where every round has its own items, scores of different rounds cannot be compared. So the
    incumbent meets each round's items first (which costs no candidate of the budget), and keeps
    its place until it is beaten on items that both have met.

    Args:
        searcher: proposes genomes.
        genome: decodes them.
        trials: tries recipes.
        evaluations: how many candidates.
        after: what was before; rounds and candidates are counted on.
        phase: what people call this part of a search of several.
        race: how candidates that are clearly behind the incumbent are dropped; None: they are not.
        batch: items per task and round, drawn anew; None: all search items in every round.
        seconds: of wall time, from the search's beginning, after which no round is begun.
        progress: told of every finished candidate.

    Returns:
        How far the search is then.
    """
    if progress:
        progress.begin(phase or "search", evaluations)
    round_, incumbent = after.rounds, after.incumbent
    leaders: list[str] = []
    leader = Leader(trials.store.folder)
    deadline = Deadline(trials.store, seconds, after.rounds)
    while searcher.asked < evaluations and not searcher.finished:
        if deadline.has_passed(round_):
            logger.warning("%d of %d candidates were tried in time", searcher.asked, evaluations)
            break
        with deadline.measured(round_):
            left = evaluations - searcher.asked
            cohort = _ask(searcher, genome, left, phase=phase, before=after.candidates)
            items = draw_items(trials.tasks, "search", batch=batch, seed=trials.seed, round_=round_)
            heat = Heat(items, race)
            if incumbent and batch:
                incumbent = _meet_again(incumbent, trials, round_, heat)
            if incumbent and incumbent.result.standing:
                estimate = make_estimator(trials.estimator, trials, round_, items)
                rival_scores = incumbent.result.item_scores
                heat = Heat(items, race, incumbent.trial.label, rival_scores, estimate)
            replayed = _is_known(trials, round_)
            results = trials.run("search", round_, cohort, "search", heat)
            searcher.tell(results)
            incumbent = _best(incumbent, cohort, results)
            if incumbent and incumbent.trial.label not in leaders[-1:]:
                leaders.append(incumbent.trial.label)
            leader.see(cohort, results, incumbent.trial if incumbent else None, replayed=replayed)
        round_ += 1
    if progress:
        progress.end()
    _keep(searcher, trials, after.candidates)
    for remark in searcher.remarks():
        logger.warning("%s%s", f"{phase}: " if phase else "", remark)
    return Progressed(incumbent, round_, after.candidates + searcher.asked, leaders[::-1])


def _is_known(trials: Trials, round_: int) -> bool:
    """Tell whether a round was over before: the best that is on disk may be of a later one."""
    rows = trials.store.candidates("search", round_)
    return bool(rows) and all(row.state != "asked" for row in rows)


def _ask(
    searcher: Searcher, genome: Encoding, most: int, *, phase: str, before: int
) -> list[Trial]:
    """Ask for a batch, or for the `most` that the budget leaves; candidates before are counted."""
    first = before + searcher.asked
    points = searcher.ask(min(searcher.batch, most))
    born = searcher.origins[-len(points) :]
    return [
        Trial(
            f"candidate {first + k}",
            genome.decode(point),
            point,
            phase,
            name_origin(genome, point, origin, before),
        )
        for k, (point, origin) in enumerate(zip(points, born, strict=True))
    ]


def _keep(searcher: Searcher, trials: Trials, before: int) -> None:
    """Record what the searcher's archive holds in the end."""
    names = list(trials.goals.names)
    why = {f"candidate {before + k}": _name_goals(told, names) for k, told in searcher.elites()}
    rows = trials.store.candidates("search") if why else []
    trials.store.keep({row.number: why[row.label] for row in rows if row.label in why})


def _name_goals(told: str, names: Sequence[str]) -> str:
    """Call goals by their names: searchers, who do not know them, count them from 1."""
    return re.sub(r"\bgoal (\d+)", lambda found: names[int(found[1]) - 1], told) if names else told


def _meet_again(incumbent: Incumbent, trials: Trials, round_: int, heat: Heat) -> Incumbent:
    """Let the incumbent meet the items of a new round."""
    met = Heat(heat.items)
    [result] = trials.run(RIVAL, round_, [incumbent.trial], "search", met)
    return Incumbent(incumbent.trial, result)


def _best(
    incumbent: Incumbent | None, cohort: Sequence[Trial], results: Sequence[Evaluated]
) -> Incumbent | None:
    """Return the best of those that met all items; the incumbent, when nobody is better."""
    best = incumbent
    for trial, result in zip(cohort, results, strict=True):
        if result.standing == 2 and (best is None or result.rank_key > best.result.rank_key):
            best = Incumbent(trial, result)
    return best
