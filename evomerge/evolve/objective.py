"""What a search maximises: a weighted mean, or several goals; and the bounds it keeps to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evomerge.evaluation import Task

ROUNDING = 1e-9
"""Scores that differ by less are equal: means of the same items in another order."""


@dataclass(frozen=True)
class Goals:
    """What candidates are judged by.

    Attributes:
        names: tasks that are goals of their own, at least two; empty where the weighted mean of
            all tasks is the only one.
        bounds: split -> task -> the least objective that will do (its negative where lower is
            better) on its items; none on a split that is not named.
    """

    names: tuple[str, ...] = ()
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Worth:
    """What a candidate earned.

    Attributes:
        overall: the weighted mean over tasks, higher is better.
        goals: goal -> objective, higher is better; empty where there is only the mean.
        violation: the sum of what is missing to the bounds, >= 0.
    """

    overall: float
    goals: Mapping[str, float] = field(default_factory=dict)
    violation: float = 0.0


def judge(
    tasks: Sequence[Task], means: Mapping[str, float], goals: Goals, split: str = "search"
) -> Worth:
    """Return what a candidate earned.

    Args:
        tasks: with weights and directions.
        means: task name -> mean score in the evaluator's own unit.
        goals: what it is judged by.
        split: whose items the scores are of.
    """
    signed = {t.name: t.direction * means[t.name] + 0.0 for t in tasks if t.name in means}
    bounds = goals.bounds.get(split, {})
    gaps = [least - signed[name] for name, least in bounds.items()]
    missing = math.fsum(gap for gap in gaps if gap > ROUNDING)
    return Worth(weigh(tasks, means), {n: signed[n] for n in goals.names}, missing)


def weigh(tasks: Sequence[Task], means: Mapping[str, float]) -> float:
    """Return the weighted mean over tasks, turned so that higher is better.

    Args:
        tasks: with weights and directions.
        means: task name -> mean score in the evaluator's own unit; tasks without one are left out,
            at least one has it.
    """
    there = [task for task in tasks if task.name in means]
    total = math.fsum(task.weight * task.direction * means[task.name] for task in there)
    return total / math.fsum(task.weight for task in there)


def weigh_items(
    tasks: Sequence[Task], scores: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return how much the score of each item counts, by item key: its part in its task's weight.

    Args:
        tasks: with weights.
        scores: task name -> item key -> score, of the items that were met.
    """
    return {
        key: task.weight / len(scores[task.name]) for task in tasks for key in scores[task.name]
    }


def average(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return task -> mean score, of the tasks that have any."""
    return {name: math.fsum(all_.values()) / len(all_) for name, all_ in scores.items() if all_}
