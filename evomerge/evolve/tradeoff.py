"""What a verdict says of several goals, and of bounds: in plain words, on test items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evomerge.config import Bound
from evomerge.evaluation import Task
from evomerge.evolve.bounds import place_bound
from evomerge.evolve.comparison import Estimate, Line
from evomerge.evolve.objective import ROUNDING
from evomerge.evolve.verdict import Verdict


def tell_tradeoff(
    verdict: Verdict,
    tasks: Sequence[Task],
    *,
    goals: Sequence[str] = (),
    bounds: Mapping[str, Bound] | None = None,
    front: int = 0,
) -> Verdict:
    """Return the verdict that also says how the winner does goal by goal, and by its bounds.

    Args:
        verdict: on the winner, with the test scores of all.
        tasks: of the run.
        goals: tasks that are goals of their own.
        bounds: by task.
        front: how many merges were on the front of which the winner is the knee.
    """
    known = {task.name: task for task in tasks}
    told = [_say_goals([known[name] for name in goals], verdict.lines, front)] if goals else []
    bounds = bounds or {}
    least = _place_bounds(bounds, known, verdict.lines)
    winner = verdict.lines[0]
    for name, bound in bounds.items():
        told.append(_say_bound(bound, known[name], winner, least.get(name)))
    told += [_say_who_keeps(known, verdict.lines, least)] if len(least) == len(bounds) > 0 else []
    kept = {name for name, found in least.items() if _keeps(known[name], winner, found)}
    missed = tuple(name for name in bounds if name not in kept)
    text = " ".join([verdict.sentence, *told])
    return replace(verdict, sentence=text, tradeoff=" ".join(told), missed=missed)


def _say_goals(goals: Sequence[Task], lines: Sequence[Line], front: int) -> str:
    winner, others = lines[0], [line for line in lines[1:] if not line.failure]
    chosen = f"It is the knee of a front of {front} merges" if front > 1 else "No other was as good"
    parts = "; ".join(_compare(task, winner, others) for task in goals)
    rivals = [line.label for line in others if _is_level(line, winner, goals)]
    best = f"At least as good in every goal: {', '.join(rivals)}."
    alone = "None of the others is as good in every goal."
    return f"{chosen} on the validation items. By goal: {parts}. {best if rivals else alone}"


def _compare(task: Task, winner: Line, others: Sequence[Line]) -> str:
    told = f"{task.name} {_show(winner.tasks[task.name])}"
    if not others:
        return told
    best = max(others, key=lambda line: task.direction * line.tasks[task.name].mean)
    return f"{told} against {best.tasks[task.name].mean:.3f} of {best.label}"


def _is_level(line: Line, winner: Line, goals: Sequence[Task]) -> bool:
    """Tell whether a model is as good as the winner in every goal."""
    pairs = [(task, line.tasks[task.name].mean, winner.tasks[task.name].mean) for task in goals]
    return all(task.direction * (mine - its) >= -ROUNDING for task, mine, its in pairs)


def _place_bounds(
    bounds: Mapping[str, Bound], tasks: Mapping[str, Task], lines: Sequence[Line]
) -> dict[str, float]:
    """Return what was asked for on the test items, in the tasks' own units.

    What hangs on the parents is left out where none of them could be tested.
    """
    parents = [
        {name: found.mean for name, found in line.tasks.items()}
        for line in lines
        if line.kind == "parent" and not line.failure
    ]
    return {
        name: place_bound(bound, tasks[name], parents)
        for name, bound in bounds.items()
        if parents or not bound.relative
    }


def _keeps(task: Task, line: Line, least: float) -> bool:
    return task.direction * (line.tasks[task.name].mean - least) >= -ROUNDING


def _say_bound(bound: Bound, task: Task, winner: Line, least: float | None) -> str:
    """Say whether the winner keeps a bound, and by which figures."""
    if least is None:
        told = f"whether the bound on {task.name} ({bound}) holds cannot be told"
        return f"On the test items {told}: no parent could be tested."
    verb = "holds" if _keeps(task, winner, least) else "does NOT hold"
    word = "least" if task.direction > 0 else "most"
    why = f" ({bound})" if bound.relative else ""
    return (
        f"On the test items the bound on {task.name} {verb}: {_show(winner.tasks[task.name])}, "
        f"where at {word} {least:.3f}{why} was asked for."
    )


def _say_who_keeps(
    tasks: Mapping[str, Task], lines: Sequence[Line], least: Mapping[str, float]
) -> str:
    """Say whom a winner under bounds has to be compared with, and how it does."""
    others = [
        f"{line.label} ({line.difference:+.3f})"
        for line in lines[1:]
        if not line.failure and all(_keeps(tasks[n], line, found) for n, found in least.items())
    ]
    if not others:
        return "None of the others keeps every bound."
    return f"Of the others these keep every bound, and the merge leads by: {', '.join(others)}."


def _show(found: Estimate) -> str:
    if found.low is None:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
