"""What is wrong with the settings of searchers that keep an archive: its descriptors and ranges."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from evomerge.config.goals import name_goals
from evomerge.errors import Problem
from evomerge.evaluation.audit import MEASURES
from evomerge.registry import suggest

if TYPE_CHECKING:
    from evomerge.config.settings import RunConfig


def check_archive(config: "RunConfig", weights: Mapping[str, float] | None) -> Iterator[Problem]:
    """Yield what is wrong before any model is looked at.

    Args:
        config: the run file.
        weights: of the run's tasks, by name; None as long as the names are not all known.
    """
    options = config.search.options
    descriptors, ranges = options.get("descriptors") or [], options.get("ranges")
    if not isinstance(descriptors, list) or not all(isinstance(d, str) for d in descriptors):
        return  # which is told already
    for k, descriptor in enumerate(descriptors):
        if message := _complain(descriptor, weights):
            yield Problem(f"search.descriptors[{k}]", message)
    if len(set(descriptors)) < len(descriptors):
        yield Problem("search.descriptors", "a descriptor stands twice: leave one of them out")
    axes = descriptors or _name_axes(config, weights)
    if isinstance(ranges, list) and axes and len(ranges) != len(axes):
        told = f"expected one for each of {', '.join(axes)}: {len(axes)}, not {len(ranges)}"
        yield Problem("search.ranges", told)


def _name_axes(config: "RunConfig", weights: Mapping[str, float] | None) -> list[str]:
    """Return the tasks that span an archive without descriptors; none while they are unknown."""
    if config.search.algorithm == "cycle_qd":
        return list(name_goals(config, weights or {}))
    return list(weights or ())


def _complain(descriptor: str, tasks: Collection[str] | None) -> str:
    """Say what is wrong with a descriptor, 'task' or 'task/measure'; empty when nothing is."""
    if tasks is None or descriptor in tasks:
        return ""
    task, slash, measure = descriptor.rpartition("/")
    task = task if slash else measure
    if task not in tasks:
        return f"no task is called {task!r}{suggest(task, sorted(tasks)) or _list(tasks)}"
    if measure not in MEASURES:
        return f"no audit measures {measure!r}{suggest(measure, list(MEASURES)) or _list(MEASURES)}"
    return ""


def _list(known: Collection[str]) -> str:
    return f"; known: {', '.join(known)}"
