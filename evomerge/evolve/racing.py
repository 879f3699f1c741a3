"""Racing within a run: in which order items are met, against whom, and what a short race tells.

All candidates meet the same items in the same order. The tasks are met side by side, each in
proportion to its weight, until one of them has no item left: so far every look is at a fair sample
of the weighted objective. 'As good as its rival' means an equal objective where items are right or
wrong; of finer scores it means better on as many items as worse, by however much. The items that
are left over are met together at the end, without a look.

The rival is the incumbent: the best candidate (or parent) of all rounds before this one. So who is
dropped never depends on what finished first. A later rival is at least as good: a merge that was
dropped once is not tried again.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evomerge.config import RacingSettings, RunConfig
from evomerge.config.goals import find_need
from evomerge.errors import ConfigError, Problem
from evomerge.evaluation import Task
from evomerge.evolve.objective import weigh
from evomerge.records import Job, Race
from evomerge.statistics import SignRace, control_variate_mean, count_looks

Places = Mapping[str, tuple[int, ...]]
"""Task name -> positions in the split, ascending; the items stand there in a random order."""
Scores = Mapping[str, Mapping[str, float]]
"""Task name -> item key -> score in the evaluator's own unit."""


@dataclass(frozen=True)
class Heat:
    """What the candidates of one round have in common.

    Attributes:
        items: what they meet.
        race: how hopeless ones are dropped; None where all meet every item.
        rival: what people call the incumbent as of the ask; empty where there is none.
        rival_scores: its objective by item key.
        estimate: a dropped candidate's objective, of its scores (evomerge.evolve.estimators).
    """

    items: Places
    race: Race | None = None
    rival: str = ""
    rival_scores: Mapping[str, float] = field(default_factory=dict)
    estimate: Callable[[Scores], float] | None = None


def draw_items(
    tasks: Sequence[Task], split: str, *, batch: int | None = None, seed: int = 0, round_: int = 0
) -> Places:
    """Return the items of a round: all of the split, or a batch of every task drawn anew.

    Args:
        tasks: of the run.
        split: whose items.
        batch: items per task; all of a task that has no more, or no scores by item.
        seed: of the run.
        round_: all candidates of a round meet the same items (common random numbers).
    """
    rng = np.random.default_rng([seed, round_])
    drawn = {}
    for task in tasks:
        size = len(task.items[split])
        count = size if batch is None or not task.evaluator.per_item else min(batch, size)
        drawn[task.name] = tuple(sorted(map(int, rng.choice(size, count, replace=False))))
    return drawn


class Course:
    """One candidate's way through the items of its job.

    Items are met in legs, each of which doubles what was met, because a few items at a time cost
    nearly as much as many. All looks within a leg follow it, in their order, so that nobody is
    dropped who would not have been dropped at the look itself.

    Args:
        tasks: those of the job.
        job: its items, its race, its rival.

    Attributes:
        legs: what is met at a time; the last one ends without a look.
    """

    def __init__(self, tasks: Sequence[Task], job: Job) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._job = job
        everything = _pair(job.items)
        race = job.race or Race(first=len(everything))
        self._row = mix(job.items, {task.name: task.weight for task in tasks})
        looks = count_looks(len(everything), race.first, race.every)
        ends = end_legs([look for look in looks if look <= len(self._row)])
        raced = set(self._row[: ends[-1]] if ends else ())
        pieces = [self._row[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]
        pieces.append([pair for pair in everything if pair not in raced])
        self.legs = tuple(_gather(piece) for piece in pieces)
        self._looks = [look for look in looks if ends and look <= ends[-1]]
        self._ends = ends if job.rival_scores else []
        if self._ends:
            self._race = SignRace(self._looks, race.alpha, per_look=race.per_look)

    def is_lost(self, scores: Scores) -> bool:
        """Tell whether the candidate is clearly behind; to be asked once after every leg.

        Args:
            scores: on all items met so far.
        """
        if not self._ends:
            return False
        end = self._ends.pop(0)
        leads = [self._lead(scores, name, place) for name, place in self._row[:end]]
        while self._looks and self._looks[0] <= end:
            met = leads[: self._looks.pop(0)]
            if self._race.look(sum(lead > 0 for lead in met), sum(lead < 0 for lead in met)):
                return True
        return False

    def _lead(self, scores: Scores, name: str, place: int) -> float:
        task = self._tasks[name]
        key = task.items[self._job.split][place].key
        return task.direction * scores[name][key] - self._job.rival_scores[key]


def mix(items: Places, weights: Mapping[str, float]) -> list[tuple[str, int]]:
    """Put the items of several tasks in one row, so that any beginning of it is a fair sample.

    Args:
        items: positions by task, each in the order in which they are to be met.
        weights: of the tasks, positive; every beginning holds them in this proportion, to within
            an item.

    Returns:
        (task, position) pairs, up to where the task whose turn it is has none left.
    """
    total = math.fsum(weights[name] for name in items)
    taken = dict.fromkeys(items, 0)
    row: list[tuple[str, int]] = []
    while True:
        name = max(items, key=lambda n: weights[n] / total * (len(row) + 1) - taken[n])
        if taken[name] == len(items[name]):
            return row
        row.append((name, items[name][taken[name]]))
        taken[name] += 1


def end_legs(looks: Sequence[int]) -> list[int]:
    """Choose the looks at which a leg ends: the first, and each that doubles the one before."""
    ends: list[int] = []
    for look in looks:
        if not ends or look >= 2 * ends[-1]:
            ends.append(look)
    return ends


def estimate_objective(tasks: Sequence[Task], scores: Scores, rival: Mapping[str, float]) -> float:
    """Estimate the objective of a candidate that met only some of the items.

    Task by task, the mean over the items met is corrected by how easy these were for the rival, as
    far as what is easy for one is easy for the other (a control variate). So those that were
    dropped early and late can be compared; tasks of which nothing was met are left out. Who was
    dropped was unlucky, too: the estimate is a little low, which does no harm below those that met
    all items.

    Args:
        tasks: of the run.
        scores: of the candidate.
        rival: its objective by item key, on all items of the round.
    """
    means = {}
    for task in tasks:
        if found := scores.get(task.name):
            keys = [item.key for item in task.items["search"] if item.key in rival]
            met = [place for place, key in enumerate(keys) if key in found]
            mine = [task.direction * found[keys[place]] for place in met]
            estimate = control_variate_mean(mine, met, [rival[key] for key in keys])
            means[task.name] = task.direction * estimate.mean
    return weigh(tasks, means)


def settle_racing(config: RunConfig, tasks: Sequence[Task]) -> RunConfig:
    """Return the run file with racing as it will be: on with its numbers, or off.

    Where the file asks for no racing, a run that cannot race does without.

    Raises:
        ConfigError: racing was asked for and is impossible, or an estimator without it.
    """
    asked = config.racing
    settings = asked if isinstance(asked, RacingSettings) else RacingSettings()
    items = draw_items(tasks, "search", batch=config.items.batch)
    obstacle = find_need(config) or _find_obstacle(tasks, items, settings.first)
    reason = "it is off" if asked is False else obstacle
    if reason and asked:
        raise ConfigError("run file", [Problem("racing", reason)])
    if reason and config.estimator != "mean":
        message = f"it is for what racing drops; leave it out, or see to racing: {reason}"
        raise ConfigError("run file", [Problem("estimator", message)])
    return config.model_copy(update={"racing": False if reason else settings})


def find_race(config: RunConfig) -> Race | None:
    """Return how candidates race in a run whose racing is settled."""
    settings = config.racing
    if not isinstance(settings, RacingSettings):
        return None
    return Race(settings.alpha, settings.first, settings.every, settings.per_look)


def _find_obstacle(tasks: Sequence[Task], items: Places, first: int) -> str:
    """Say why a run cannot race; empty when it can."""
    lump = [task.name for task in tasks if not task.evaluator.per_item]
    if lump:
        return f"task {lump[0]} has one number for all its items; racing compares item by item"
    whole = [task.name for task in tasks if task.evaluator.at_once]
    if whole:
        return f"task {whole[0]} answers for all its items at once; racing asks for some at a time"
    met = len(mix(items, {task.name: task.weight for task in tasks}))
    if met > first or (met == first and len(_pair(items)) > first):
        return ""
    return (
        f"looks first after {first} items, and a candidate meets only {met} in proportion to the "
        "tasks' weights; take more search items, a smaller racing.first, or racing: false"
    )


def _pair(items: Places) -> list[tuple[str, int]]:
    return [(name, place) for name, places in items.items() for place in places]


def _gather(pairs: Iterable[tuple[str, int]]) -> Places:
    found: dict[str, list[int]] = {}
    for name, place in pairs:
        found.setdefault(name, []).append(place)
    return {name: tuple(places) for name, places in found.items()}
