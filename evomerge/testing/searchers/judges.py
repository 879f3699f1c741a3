"""What searchers are told in the suite: results as a run tells them, good, bad and missing.

A made-up run has the tasks `first`, `second`, `third` of `ITEMS` items each. An item is solved
where the genome is near its task's target, the nearer the harder it is. The audit measures
`TASK/length`, in [0, 1].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from evomerge.records import Evaluated

if TYPE_CHECKING:
    from evomerge.types import Genome

Judge = Callable[["Sequence[Genome]"], list[Evaluated]]
TASKS = ("first", "second", "third")
ITEMS = 4


@dataclass(frozen=True)
class PlainJudge:
    """Tells every genome's objectives, item scores and measures.

    Attributes:
        goals: how many objectives; of one it is the mean over all tasks.
        merged: tell the one number alone, as where the tasks are no goals of their own.
    """

    goals: int = 1
    merged: bool = False

    def __call__(self, points: "Sequence[Genome]") -> list[Evaluated]:
        """Return one result per genome, in order."""
        return [self._judge(point) for point in points]

    def _judge(self, point: "Genome") -> Evaluated:
        off = [_measure(point, place) for place in range(max(self.goals, len(TASKS)))]
        items = {
            f"{task} {item}": float(off[place] < len(point) * (0.05 + 0.1 * (ITEMS - item)))
            for place, task in enumerate(TASKS)
            for item in range(ITEMS)
        }
        goals = [-distance for distance in off[: self.goals]]
        means = {task: fmean(items[f"{task} {item}"] for item in range(ITEMS)) for task in TASKS}
        lengths = {f"{task}/length": float(point[k % len(point)]) for k, task in enumerate(TASKS)}
        overall = fmean(goals)
        return Evaluated(
            point,
            (overall,) if self.merged else tuple(goals),
            items,
            len(items),
            overall=overall,
            measures=means | lengths,
        )


@dataclass(frozen=True)
class HardJudge:
    """Fails some, drops some, gives others no number, and lets others miss their bounds.

    What becomes of a genome follows from the genome, so that a duplicate is told as before.

    Attributes:
        plain: tells what is not changed.
        races: whether some are dropped before they have met all items.
    """

    plain: PlainJudge
    races: bool = True

    def __call__(self, points: "Sequence[Genome]") -> list[Evaluated]:
        """Return one result per genome, in order."""
        changes = [_keep, _fail, _drop if self.races else _keep, _lose_one, _miss]
        return [
            changes[crc32(result.genome.tobytes()) % len(changes)](result)
            for result in self.plain(points)
        ]


def fail_all(goals: int) -> Judge:
    """Return a judge under whom every candidate fails."""
    return lambda points: [_fail(result) for result in PlainJudge(goals)(points)]


def lose_last_goal(goals: int) -> Judge:
    """Return a judge who has no number for the last goal."""
    return lambda points: [_lose_one(result) for result in PlainJudge(goals)(points)]


def _keep(result: Evaluated) -> Evaluated:
    return result


def _fail(result: Evaluated) -> Evaluated:
    nothing = (math.nan,) * len(result.objectives)
    return Evaluated(result.genome, nothing, failure="it failed", overall=math.nan)


def _drop(result: Evaluated) -> Evaluated:
    """Drop a candidate after the first items, whose mean is then all that is known of it."""
    met = dict(list(result.item_scores.items())[:2])
    goals = (result.overall or 0.0,) * len(result.objectives)
    return replace(
        result, objectives=goals, item_scores=met, items_seen=2, raced_out=True, measures={}
    )


def _lose_one(result: Evaluated) -> Evaluated:
    return replace(result, objectives=(*result.objectives[:-1], math.nan), overall=math.nan)


def _miss(result: Evaluated) -> Evaluated:
    return replace(result, violation=0.1 + float(result.genome[0]))


def _measure(point: "Genome", goal: int) -> float:
    """Return how far a point is from the target of a goal; no two have the same."""
    target = np.full(len(point), 0.7)
    target[:: goal + 1] -= 0.2 * goal
    return float(((point - target) ** 2).sum())
