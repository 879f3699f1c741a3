"""Did it really get better? Estimates with intervals, exact paired tests, one plain sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evomerge.evaluation import Task
from evomerge.evolve.trials import direction
from evomerge.statistics import holm, mean_interval, paired_sign_test

LEVEL = 0.05

Scores = Mapping[str, Mapping[str, float]]
"""Task name -> item key -> score in the evaluator's own unit."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, in the evaluator's own unit (overall: higher is better)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One model of the verdict's table.

    Attributes:
        label: what it is called.
        kind: 'winner', 'parent' or 'default'.
        overall: weighted mean over tasks.
        tasks: task name -> estimate.
        difference: winner's overall minus this one's; None for the winner.
        wins: items on which the winner is better.
        losses: items on which it is worse.
        p_value: two-sided exact sign test, Holm-corrected over all lines; None for the winner.
        failure: why there is no estimate.
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

    @property
    def beaten(self) -> bool:
        """Tell whether the winner is better, and not by chance."""
        if self.failure:
            return False
        assert self.difference is not None
        assert self.p_value is not None
        return self.difference > 0 and self.wins > self.losses and self.p_value < LEVEL


@dataclass(frozen=True)
class Verdict:
    """The table, the sentence, and what it rests on.

    Attributes:
        sentence: what to believe, in plain words.
        better: whether the winner beats every parent and every default.
        lines: winner first.
        items: number of test items.
        search_score: the winner's objective on the search items.
        validation_score: and on the validation items.
    """

    sentence: str
    better: bool
    lines: tuple[Line, ...]
    items: int
    search_score: float | None
    validation_score: float | None

    def to_values(self) -> dict[str, Any]:
        """Return plain values for the store."""
        return asdict(self)


def read_verdict(values: Mapping[str, Any]) -> Verdict:
    """Turn stored values back into a Verdict."""

    def line(raw: Mapping[str, Any]) -> Line:
        overall = Estimate(**raw["overall"]) if raw["overall"] else None
        tasks = {name: Estimate(**found) for name, found in raw["tasks"].items()}
        return Line(**{**raw, "overall": overall, "tasks": tasks})

    return Verdict(**{**values, "lines": tuple(line(raw) for raw in values["lines"])})


def reach_verdict(
    tasks: Sequence[Task],
    entries: Sequence[tuple[str, str, Scores | str]],
    *,
    search_score: float | None = None,
    validation_score: float | None = None,
) -> Verdict:
    """Compare the winner with all others on the test items.

    Args:
        tasks: of the run.
        entries: (label, kind, scores or the reason there are none), winner first.
        search_score: the winner's objective on the search items.
        validation_score: and on the validation items.
    """
    binary = {task.name: _is_binary(task, entries) for task in tasks}
    plain = [_line(tasks, binary, *entry) for entry in entries]
    winner_scores = entries[0][2]
    assert not isinstance(winner_scores, str), "the winner was evaluated on validation items"
    tests = [
        None if isinstance(scores, str) else _compare(tasks, winner_scores, scores)
        for _, _, scores in entries[1:]
    ]
    adjusted = iter(holm([test.p_value for test in tests if test]))
    lines = [plain[0]]
    for line, test in zip(plain[1:], tests, strict=True):
        lines.append(_add_test(line, plain[0], test, next(adjusted)) if test else line)
    items = sum(len(task.items["test"]) for task in tasks)
    measured = any(line.overall for line in lines[1:])
    better = measured and all(line.beaten for line in lines[1:])
    sentence = _say(lines, items, better)
    return Verdict(sentence, better, tuple(lines), items, search_score, validation_score)


def _is_binary(task: Task, entries: Sequence[tuple[str, str, Scores | str]]) -> bool:
    """Tell whether a task's items are right or wrong, by the scores of all models together."""
    found = [scores[task.name] for _, _, scores in entries if not isinstance(scores, str)]
    plain = all(score in (0.0, 1.0) for scores in found for score in scores.values())
    return plain and task.evaluator.higher_is_better


def _line(
    tasks: Sequence[Task],
    binary: Mapping[str, bool],
    label: str,
    kind: str,
    scores: Scores | str,
) -> Line:
    if isinstance(scores, str):
        return Line(label, kind, None, {}, failure=scores)
    means = {
        task.name: _estimate(list(scores[task.name].values()), binary=binary[task.name])
        for task in tasks
    }
    values, weights = [], []
    for task in tasks:
        found = scores[task.name].values()
        values += [direction(task) * value for value in found]
        weights += [task.weight / len(found)] * len(found)
    overall = _estimate(values, weights, binary=all(binary.values()))
    return Line(label, kind, overall, means)


def _estimate(
    values: Sequence[float], weights: Sequence[float] | None = None, *, binary: bool
) -> Estimate:
    share = weights or [1.0] * len(values)
    mean = math.fsum(v * w for v, w in zip(values, share, strict=True)) / math.fsum(share)
    return Estimate(mean, *mean_interval(values, weights, binary=binary))


def _compare(tasks: Sequence[Task], winner: Scores, other: Scores) -> Any:
    a, b = [], []
    for task in tasks:
        for key, score in winner[task.name].items():
            a.append(direction(task) * score)
            b.append(direction(task) * other[task.name][key])
    return paired_sign_test(a, b)


def _add_test(line: Line, winner: Line, test: Any, p_value: float) -> Line:
    assert line.overall is not None
    assert winner.overall is not None
    difference = winner.overall.mean - line.overall.mean
    return Line(
        line.label, line.kind, line.overall, line.tasks, difference, test.wins, test.losses, p_value
    )


def _say(lines: Sequence[Line], items: int, better: bool) -> str:
    winner, rivals = lines[0], [line for line in lines[1:] if line.overall]
    assert winner.overall is not None
    measured = f"on {items} untouched test items: {_show(winner.overall)}"
    if not rivals:
        return f"The merge scores {measured}; there was nothing to compare it with."
    failed = [line.label for line in lines[1:] if line.failure]
    unmeasured = f" Could not be evaluated: {', '.join(failed)}." if failed else ""
    strongest = max(rivals, key=lambda line: line.overall.mean if line.overall else -math.inf)
    assert strongest.overall is not None
    against = f"against {_show(strongest.overall)} of the strongest of them, {strongest.label}"
    if better:
        worst = max(line.p_value or 0.0 for line in rivals)
        return (
            f"The merge beats every parent and every default recipe {measured} {against} "
            f"(paired exact tests, largest p {_show_p(worst)})."
        )
    level = [line for line in rivals if not line.beaten and (line.difference or 0.0) <= 0]
    close = [line for line in rivals if not line.beaten and (line.difference or 0.0) > 0]
    reasons = f" It is no better than {_list(level)}." if level else ""
    reasons += f" Its lead may be chance over {_list(close)}." if close else ""
    return f"The merge did NOT beat everything {measured} {against}.{reasons}{unmeasured}"


def _list(lines: Sequence[Line]) -> str:
    return ", ".join(
        f"{'the parent ' if line.kind == 'parent' else ''}{line.label} "
        f"({line.difference:+.3f}, p {_show_p(line.p_value or 0.0)})"
        for line in lines
    )


def _show(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _show_p(p_value: float) -> str:
    return f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
