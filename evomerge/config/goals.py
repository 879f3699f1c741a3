"""Several goals, and bounds on tasks: how a run file says them, and what is wrong with it.

A bound is the least that will do, in the task's own unit: 0.8 of an accuracy in [0, 1]. Where lower
is better it is the most that will do. It is a number, 'parent' for the best parent's score, or
'parent - 0.01' and 'parent + 0.05', which shift that in the same unit.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evomerge.errors import Problem
from evomerge.registry import suggest
from evomerge.search import SEARCHERS

if TYPE_CHECKING:
    from evomerge.config.settings import RunConfig

RELATIVE = re.compile(r"parent(?:\s*([+-])\s*(\d+\.?\d*|\.\d+))?")


@dataclass(frozen=True)
class Bound:
    """What a task must at least have.

    Attributes:
        value: in the task's own unit; to be added to the best parent's score where `relative`.
        relative: whether it hangs on the parents.
    """

    value: float
    relative: bool = False

    def __str__(self) -> str:
        if not self.relative:
            return f"{self.value:g}"
        sign = "-" if self.value < 0 else "+"
        return f"best parent {sign} {abs(self.value):g}" if self.value else "best parent"


def read_bound(value: float | str) -> Bound:
    """Return what a run file says of a task's bound.

    Raises:
        ValueError: it is neither a finite number nor one of the words.
    """
    if not isinstance(value, str):
        if not math.isfinite(value):
            raise ValueError(f"a bound is a finite number, not {value}")
        return Bound(float(value))
    if not (found := RELATIVE.fullmatch(value.strip())):
        told = "a number, 'parent' or the like of 'parent - 0.01'"
        raise ValueError(f"a bound is {told}, not {value!r}")
    sign, amount = found.groups()
    return Bound(float(f"{sign}{amount}") if amount else 0.0, relative=True)


def name_goals(config: "RunConfig", weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the tasks that are goals of their own; none where their mean is the only goal.

    Args:
        config: the run file.
        weights: of the run's tasks, by name; of weight 0 are those that are only bounded.
    """
    if config.objectives or _goals_of(config)[0] < 2:
        return tuple(config.objectives)
    return tuple(name for name, weight in weights.items() if weight)


def find_need(config: "RunConfig") -> str:
    """Say why every candidate must meet the same items, all of them; empty where it need not."""
    if config.objectives or _goals_of(config)[0] > 1:
        return "candidates of several goals are compared in each of them, on all items"
    if config.constraints:
        return "whether a candidate keeps its bounds is told by all items"
    name = config.search.algorithm
    if name in SEARCHERS.names() and SEARCHERS.get(name).looks_at_items:
        return f"{name} compares candidates that met every item"
    return ""


def check_goals(config: "RunConfig", weights: Mapping[str, float] | None) -> Iterator[Problem]:
    """Find what is wrong with goals and bounds.

    Args:
        config: the run file.
        weights: of the run's tasks, by name; None as long as the names are not all known.
    """
    yield from _check_names(config.objectives, weights)
    if len(config.objectives) == 1:
        told = "name two tasks or more; without it the weighted mean of all tasks is the one goal"
        yield Problem("objectives", told)
    yield from _check_bounds(config.constraints, weights)
    if weights is not None:
        yield from _check_weights(config, weights)
    if config.items.batch and (need := find_need(config)):
        yield Problem("items.batch", f"{need}; leave it out")
    if weights is not None and config.search.algorithm in SEARCHERS.names():
        yield from _check_searcher(config, len(name_goals(config, weights)))


def _goals_of(config: "RunConfig") -> tuple[int, int]:
    name = config.search.algorithm
    return SEARCHERS.get(name).goals if name in SEARCHERS.names() else (1, 1)


def _check_names(names: Sequence[str], known: Mapping[str, float] | None) -> Iterator[Problem]:
    for index, name in enumerate(names):
        path = f"objectives[{index}]"
        if known is not None and name not in known:
            yield Problem(path, _unknown(name, known))
        elif names.index(name) != index:
            yield Problem(path, f"{name!r} stands twice")


def _check_bounds(
    bounds: Mapping[str, float | str], known: Mapping[str, float] | None
) -> Iterator[Problem]:
    for name, value in bounds.items():
        if known is not None and name not in known:
            yield Problem(f"constraints.{name}", _unknown(name, known))
        try:
            read_bound(value)
        except ValueError as error:
            yield Problem(f"constraints.{name}", str(error))


def _unknown(name: str, known: Mapping[str, float]) -> str:
    return f"the run has no task {name!r}{suggest(name, list(known))}; it has {', '.join(known)}"


def _check_weights(config: "RunConfig", weights: Mapping[str, float]) -> Iterator[Problem]:
    """Find tasks that count for nothing, and a run in which all of them only bound."""
    bounded = {*config.objectives, *config.constraints}
    if not any(weights.values()) and bounded.issuperset(weights):
        yield Problem("tasks", "no task has a weight, so that there is nothing to search for")
    places = {task.name: f"tasks[{index}].weight" for index, task in enumerate(config.tasks)}
    for name, weight in weights.items():
        if not weight and name not in bounded:
            told = "a task without weight counts for nothing; leave it out, or bound it"
            yield Problem(places.get(name, "tasks"), f"{told} with `constraints`")


def _check_searcher(config: "RunConfig", goals: int) -> Iterator[Problem]:
    """Find a searcher for several goals that has too few or too many."""
    least, most = _goals_of(config)
    if least < 2 or least <= goals <= most:
        return
    name, count = config.search.algorithm, goals or 1
    wanted = f"{least} goals" if least == most else f"{least} goals or more"
    mend = (
        "give the run more tasks, or take a searcher for one goal such as cma"
        if count < least
        else "name them in `objectives`, or take nsga2"
    )
    yield Problem("search.algorithm", f"{name} is for {wanted}, this run has {count}: {mend}")
