"""The one number that a search maximises."""

import math
from collections.abc import Mapping, Sequence

from evomerge.evaluation import Task


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
