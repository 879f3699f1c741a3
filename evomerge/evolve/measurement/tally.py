"""What one model scored on one task, and all else that is known of its answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evomerge.evaluation import Audit, Task
from evomerge.evolve.measurement.reported_tasks import REPORTED

CHUNK = 256
"""Items between two steps of progress: what is shared between items is shared within a step."""


@dataclass
class Tally:
    """One model on one task.

    Attributes:
        scores: a number per item, in their order.
        noted: 'metric,filter' -> a number per item, where the harness gives several.
        summed: 'metric,filter' -> the harness' own number for all items together.
        hashes: of what was asked, per item, where the harness has such.
        audit: measure -> value, as evomerge.evaluation.audit names them.
    """

    scores: list[float] = field(default_factory=list)
    noted: dict[str, list[float]] = field(default_factory=dict)
    summed: Mapping[str, float] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    audit: Mapping[str, float] = field(default_factory=dict)


def count(task: Task, subjects: Mapping[str, Any], tally: Tally) -> Iterator[int]:
    """Let a model do a task; yield how many items were scored, again and again, until all are.

    Args:
        task: with the items reported on.
        subjects: the model in the kinds that evaluators look at.
        tally: empty; full at the end.
    """
    evaluator, items, audit = task.evaluator, task.items[REPORTED], Audit()
    graded: dict[str, list[Any]] = {}
    whole = evaluator.at_once or not evaluator.per_item
    step = len(items) if whole else CHUNK
    for start in range(0, len(items), step):
        some = items[start : start + step]
        tally.scores += evaluator.evaluate(subjects[evaluator.subject], some, audit)
        tally.hashes += evaluator.hashes
        for name, values in evaluator.noted.items():
            tally.noted.setdefault(name, []).extend(values)
        for name, made in evaluator.graded.items():
            graded.setdefault(name, []).extend(made)
        yield len(some)
    tally.summed = evaluator.sum_up(graded)
    tally.audit = audit.measures()
