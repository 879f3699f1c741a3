"""Bounds that hang on the parents: known once those have met the same items as the candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evomerge.config import Bound
from evomerge.errors import EvaluationError
from evomerge.evaluation import Task
from evomerge.evolve.objective import Goals
from evomerge.evolve.trials import Trial, Trials
from evomerge.records import Evaluated
from evomerge.types import Progress

PROBE = "probe"
"""The stage in which parents meet the items of a split before candidates do."""
LATER = 1
"""Round of that stage in which they meet the validation items."""


def settle_bounds(
    bounds: Mapping[str, Bound],
    trials: Trials,
    parents: Sequence[Trial],
    probed: Sequence[Evaluated],
    progress: Progress | None = None,
) -> Goals:
    """Return the goals with what a candidate must have on search items and on validation items.

    'Parent' is the best parent on that task and on the same items, so that a hard split asks for
    no more than an easy one.

    Args:
        bounds: of the run file.
        trials: evaluates the parents on the validation items, where a bound hangs on them.
        parents: of the run.
        probed: what they earned on the search items.
        progress: told of every finished parent.

    Raises:
        EvaluationError: a parent cannot be evaluated.
    """
    if not bounds:
        return trials.goals
    validated = probed
    if any(bound.relative for bound in bounds.values()):
        if progress:
            progress.begin("bounds", len(parents))
        validated = trials.run(PROBE, LATER, parents, "validation")
        if progress:
            progress.end()
        refuse_failures(parents, validated)
    on = {"search": probed, "validation": validated}
    least = {split: find_least(bounds, trials.tasks, results) for split, results in on.items()}
    return replace(trials.goals, bounds=least)


def refuse_failures(parents: Sequence[Trial], results: Sequence[Evaluated]) -> None:
    """Raise an EvaluationError that says why a parent cannot be evaluated, if one cannot."""
    for trial, result in zip(parents, results, strict=True):
        if result.failure:
            raise EvaluationError(
                f"{trial.label} cannot be evaluated: {result.failure}",
                "Mend the task or the model, and start again",
            )


def find_least(
    bounds: Mapping[str, Bound], tasks: Sequence[Task], parents: Sequence[Evaluated]
) -> dict[str, float]:
    """Return task -> the least objective that will do (its negative where lower is better)."""
    means = [parent.measures for parent in parents]
    return {
        task.name: task.direction * place_bound(bounds[task.name], task, means)
        for task in tasks
        if task.name in bounds
    }


def place_bound(bound: Bound, task: Task, parents: Sequence[Mapping[str, float]]) -> float:
    """Return a bound in the task's own unit.

    Args:
        bound: as the run file says it.
        task: that it is on.
        parents: mean score of every task, of each parent, all on the same items.
    """
    if not bound.relative:
        return bound.value
    best = max(task.direction * means[task.name] for means in parents)
    return task.direction * best + bound.value
