"""What a search maximises: a weighted mean, or several goals; and the bounds it keeps to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evomerge.evaluation import Task


@dataclass(frozen=True)
class Goals:
    """What candidates are judged by.

    Attributes:
        names: tasks that are goals of their own, at least two; empty where the weighted mean of
            all tasks is the only one.
        bounds: task -> the least objective that will do (its negative where lower is better).
    """

    names: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)


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


def judge(tasks: Sequence[Task], means: Mapping[str, float], goals: Goals) -> Worth:
    """Return what a candidate earned.

    Args:
        tasks: with weights and directions.
        means: task name -> mean score in the evaluator's own unit.
        goals: what it is judged by.
    """
    signed = {t.name: t.direction * means[t.name] for t in tasks if t.name in means}
    missing = [max(0.0, least - signed[name]) for name, least in goals.bounds.items()]
    return Worth(weigh(tasks, means), {n: signed[n] for n in goals.names}, math.fsum(missing))


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
