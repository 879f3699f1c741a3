"""Several models on the same items: estimates with intervals, and each tested against the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evomerge.evaluation import Task
from evomerge.evolve.objective import weigh
from evomerge.statistics import (
    PairedTest,
    combine_intervals,
    holm,
    mean_interval,
    sign_flip_test,
)

LEVEL = 0.05

Scores = Mapping[str, Mapping[str, float]]
"""Task name -> item key -> score in the evaluator's own unit."""

Entry = tuple[str, str, Scores | str]
"""A model's label, its kind, and its scores or the reason why there are none."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, in the evaluator's own unit (overall: higher is better).

    There is no interval where there are no scores of single items.
    """

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One model of a comparison.

    Attributes:
        label: what it is called.
        kind: 'winner', 'parent' or 'default' in a run, 'model' outside.
        overall: weighted mean over tasks.
        tasks: task name -> estimate.
        difference: the first model's overall minus this one's; None for the first.
        wins: items on which the first is better.
        losses: items on which it is worse.
        p_value: two-sided exact test of `tested`, Holm-corrected over all lines; None for the
            first, and where no task has scores of single items.
        failure: why there is no estimate.
        tested: `difference` over the tasks that have scores of single items.
    """

    label: str
    kind: str
    overall: Estimate | None
    tasks: Mapping[str, Estimate]
    difference: float | None = None
    wins: int = 0
    losses: int = 0
    p_value: float | None = None
    failure: str = ""
    tested: float | None = None

    @property
    def beaten(self) -> bool:
        """Tell whether the first is better, and not by chance."""
        if self.failure or self.p_value is None or self.difference is None:
            return False
        tested = self.difference if self.tested is None else self.tested
        return min(self.difference, tested) > 0 and self.p_value < LEVEL

    @property
    def ahead(self) -> bool:
        """Tell whether the first is worse, and not by chance."""
        if self.failure or self.p_value is None or self.difference is None:
            return False
        tested = self.difference if self.tested is None else self.tested
        return max(self.difference, tested) < 0 and self.p_value < LEVEL


def compare(tasks: Sequence[Task], entries: Sequence[Entry]) -> tuple[Line, ...]:
    """Compare models with the first of them, on the same items.

    The paired test asks what the overall score asks: it permutes signs of the weighted mean
    difference, so that a heavy task of few items counts as much as in the score.

    Args:
        tasks: what the scores are of.
        entries: the models, the first one evaluated without failure.
    """
    binary = {task.name: _is_binary(task, entries) for task in tasks}
    lines = [_line(tasks, binary, *entry) for entry in entries]
    _, _, first = entries[0]
    assert not isinstance(first, str)
    tests = [
        None if isinstance(scores, str) else _test(tasks, first, scores)
        for _, _, scores in entries[1:]
    ]
    adjusted = iter(holm([test.p_value for _, test in filter(None, tests)]))
    others = [
        _against(lines[0], line, test, next(adjusted) if test else None)
        for line, test in zip(lines[1:], tests, strict=True)
    ]
    return (lines[0], *others)


def _is_binary(task: Task, entries: Sequence[Entry]) -> bool:
    """Tell whether a task's items are right or wrong, by the scores of all models together."""
    found = [scores[task.name] for _, _, scores in entries if not isinstance(scores, str)]
    return all(score in (0.0, 1.0) for scores in found for score in scores.values())


def _line(
    tasks: Sequence[Task], binary: Mapping[str, bool], label: str, kind: str, scores: Scores | str
) -> Line:
    if isinstance(scores, str):
        return Line(label, kind, None, {}, failure=scores)
    means = {task.name: _estimate(task, scores[task.name], binary[task.name]) for task in tasks}
    return Line(label, kind, _weigh(tasks, means), means)


def _estimate(task: Task, scores: Mapping[str, float], binary: bool) -> Estimate:
    values = list(scores.values())
    if not task.evaluator.per_item:
        return Estimate(float(np.mean(values)))
    return Estimate(float(np.mean(values)), *mean_interval(values, binary=binary))


def _weigh(tasks: Sequence[Task], means: Mapping[str, Estimate]) -> Estimate:
    total = sum(task.weight for task in tasks)
    shares = [task.direction * task.weight / total for task in tasks]
    found = [means[task.name] for task in tasks]
    mean = weigh(tasks, {name: each.mean for name, each in means.items()})
    known = [
        ((each.mean, each.low, each.high), share)
        for each, share in zip(found, shares, strict=True)
        if each.low is not None
    ]
    if not known:
        return Estimate(mean)
    parts, weights = zip(*known, strict=True)
    low, high = combine_intervals(parts, weights)
    rest = mean - sum(share * part[0] for part, share in known)  # a single number has no width
    return Estimate(mean, float(low + rest), float(high + rest))


def _test(tasks: Sequence[Task], first: Scores, other: Scores) -> tuple[float, PairedTest] | None:
    """Return the weighted mean difference and its test; None where no item has a score."""
    tasks = [task for task in tasks if task.evaluator.per_item]
    total = sum(task.weight for task in tasks)
    differences, weights = [], []
    for task in tasks:
        ours, theirs = first[task.name], other[task.name]
        differences += [task.direction * (ours[key] - theirs[key]) for key in ours]
        weights += [task.weight / total / len(ours)] * len(ours)
    if not tasks:
        return None
    return float(np.dot(differences, weights)), sign_flip_test(differences, weights)


def _against(
    first: Line, line: Line, test: tuple[float, PairedTest] | None, p_value: float | None
) -> Line:
    if first.overall is None or line.overall is None:
        return line
    line = replace(line, difference=first.overall.mean - line.overall.mean)
    if test is None:
        return line
    tested, found = test
    return replace(line, tested=tested, wins=found.wins, losses=found.losses, p_value=p_value)
