"""A search from its first phase to its last: each begins at the winner of an earlier one.

Which of a phase's best that is, the validation items say: on the items of the search, the best of
many is also the luckiest. They also say whether smaller groups of layers are worth it: a search
in ever smaller ones ends where a phase has found nothing better than the phase before it.
"""

import logging
from collections.abc import Sequence

from evomerge.config import RunConfig
from evomerge.errors import EvaluationError
from evomerge.evolve.build import build_searcher
from evomerge.evolve.finalists import choose_winner, short_list, widen
from evomerge.evolve.loop import Incumbent, Progressed, search
from evomerge.evolve.phases import Phase, share_out
from evomerge.evolve.racing import find_race
from evomerge.evolve.trials import SNAPSHOT, Trial, Trials
from evomerge.recipe import is_path
from evomerge.records import Evaluated
from evomerge.types import Progress

logger = logging.getLogger(__name__)


def search_all(
    config: RunConfig,
    phases: Sequence[Phase],
    trials: Trials,
    *,
    incumbent: Incumbent,
    progress: Progress | None = None,
) -> list[Trial]:
    """Carry out the phases of a search.

    Where nothing succeeds, what was found before is not lost: the search goes on from an earlier
    path, and the phases that would refine a path that was not found are left out.

    Args:
        config: the run file.
        phases: in order.
        trials: tries recipes.
        incumbent: the best of those known before.
        progress: told of every finished candidate.

    Returns:
        The short list of the last phase, and the winners of those before it.

    Raises:
        EvaluationError: no candidate of a phase that begins afresh succeeded.
    """
    state, listed = Progressed(incumbent), list[Trial]()
    winners: list[Trial | None] = []
    validated: list[Evaluated] = []
    for number, budget in enumerate(share_out(config.search.evaluations, phases)):
        phase = phases[number]
        if phase.refines and _stagnates(validated):
            told = "%s were no better on validation items: %d evaluations are left"
            left = config.search.evaluations - state.candidates
            logger.warning(told, phases[number - 1].name, left)
            return _gather([*listed, *filter(None, winners[:-1])], trials, config)
        start = None if phase.after is None else winners[phase.after]
        listed = []
        if start or phase.after is None:
            listed, state = _search(config, phases, number, start, trials, budget, state, progress)
        if number + 1 < len(phases):
            if start and is_path(start.recipe):
                listed.append(start)  # nothing is gained by going back
            winners.append(None)
            if listed:
                winners[-1], result = _choose(listed, trials, number, progress)
                validated.append(result)
    return _gather([*listed, *filter(None, winners)], trials, config)


def _gather(finalists: list[Trial], trials: Trials, config: RunConfig) -> list[Trial]:
    """Return the finalists; of several goals with the front of all phases."""
    if not trials.goals.names or len({trial.phase for trial in finalists}) < 2:
        return finalists
    return widen(finalists, trials.store.candidates("search"), config.finalists)


def _stagnates(validated: Sequence[Evaluated]) -> bool:
    """Tell whether the latest winner of a phase is no better than the one before it."""
    return len(validated) > 1 and validated[-1].rank_key <= validated[-2].rank_key


def _choose(
    listed: Sequence[Trial], trials: Trials, number: int, progress: Progress | None
) -> tuple[Trial, Evaluated]:
    """Return the winner of a phase, and what it earned on validation items."""
    return choose_winner(listed, trials, progress, stage=SNAPSHOT, round_=number)


def _search(
    config: RunConfig,
    phases: Sequence[Phase],
    number: int,
    start: Trial | None,
    trials: Trials,
    evaluations: int,
    before: Progressed,
    progress: Progress | None,
) -> tuple[list[Trial], Progressed]:
    """Carry out a phase; return its short list, and how far the search is."""
    phase = phases[number]
    share = float(sum(each.share for each in phases[: number + 1]))
    genome = phase.make(start.recipe if start else None)
    folder = trials.store.folder
    searcher = build_searcher(config, genome.space, number, folder, refines=phase.refines)
    batch = config.items.batch
    state = search(
        searcher,
        genome,
        trials,
        evaluations=evaluations,
        after=before,
        phase=phase.name,
        race=find_race(config),
        batch=batch,
        seconds=config.search.seconds and config.search.seconds * share,
        progress=progress,
    )
    own = range(before.rounds, state.rounds)  # a store that is resumed may know later phases
    rows = [row for row in trials.store.candidates("search") if row.round in own]
    leaders = state.leaders if batch else None
    listed = short_list(rows, searcher, genome, config.finalists, leaders=leaders, phase=phase.name)
    if not (listed or start):
        reason = next((row.error for row in rows if row.error), "no candidate was evaluated")
        raise EvaluationError(f"all {len(rows)} candidates failed; the first: {reason}")
    return listed, state
