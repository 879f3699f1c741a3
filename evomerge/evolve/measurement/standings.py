"""Where each model stands beside the first one: over all tasks, in a group, in one task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evomerge.evaluation import Task
from evomerge.evaluation.harness.grouping import Grouping
from evomerge.evolve.comparison import Estimate, Line, Scores, compare
from evomerge.evolve.measurement.reported_tasks import REPORTED

KIND = "model"

Entry = tuple[str, Scores | str]
"""A model's label, and its scores or the reason why there are none."""


@dataclass(frozen=True)
class Standing:
    """One model beside the first.

    Attributes:
        model: what it is called.
        score: with its 95 % interval, in the metric's own unit; None where the model failed. Over
            tasks of which some are better when lower, these are subtracted.
        better_by: by how much it is better than the first: positive where it is better, whether
            higher or lower is better in the task; None of the first.
        won: items on which it is better than the first.
        lost: items on which it is worse.
        p_value: two-sided exact paired test, Holm-corrected over the models; None of the first, and
            where no task has scores of single items.
        failure: why there is no score.
    """

    model: str
    score: Estimate | None
    better_by: float | None = None
    won: int = 0
    lost: int = 0
    p_value: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class GroupStandings:
    """The models in a group of lm-evaluation-harness, on the first metric that it sums up.

    Attributes:
        group: as its YAML says.
        tasks: those below it that have the metric, each with its weight in the group.
        by_size: whether the weights are the numbers of items; else they are equal.
        models: the standings.
    """

    group: Grouping
    tasks: tuple[Task, ...]
    by_size: bool
    models: tuple[Standing, ...]


def stand(tasks: Sequence[Task], entries: Sequence[Entry]) -> tuple[Standing, ...]:
    """Compare models with the first of them, which has not failed.

    Args:
        tasks: what the scores are of, with their weights.
        entries: the models, in order.
    """
    lines = compare(tasks, [(label, KIND, scores) for label, scores in entries])
    return tuple(_turn(line, tasks) for line in lines)


def _turn(line: Line, tasks: Sequence[Task]) -> Standing:
    """Say of a model what its line says of the first."""
    ahead = line.difference
    return Standing(
        line.label,
        _score(line, tasks),
        None if ahead is None else 0.0 - ahead,
        line.losses,
        line.wins,
        line.p_value,
        line.failure,
    )


def _score(line: Line, tasks: Sequence[Task]) -> Estimate | None:
    found = line.overall
    if found is None or len(tasks) == 1:
        return line.tasks.get(tasks[0].name)
    if any(task.direction > 0 for task in tasks):
        return found
    if found.low is None or found.high is None:
        return Estimate(-found.mean)
    return Estimate(-found.mean, -found.high, -found.low)


def find_groups(tasks: Sequence[Task]) -> dict[str, Grouping]:
    """Return the groups all of whose tasks are here, each before what is below it."""
    found = {g.name: g for task in tasks for g in task.evaluator.description.get("groups", ())}
    here = {task.name for task in tasks}
    return {name: group for name, group in found.items() if here.issuperset(leaves(name, found))}


def leaves(name: str, groups: Mapping[str, Grouping]) -> list[str]:
    """Return the names of all tasks below a group."""
    if name not in groups:
        return [name]
    return list(dict.fromkeys(t for m in groups[name].members for t in leaves(m, groups)))


def stand_in_groups(tasks: Sequence[Task], entries: Sequence[Entry]) -> dict[str, GroupStandings]:
    """Compare models in the groups that sum up the metric of one of their tasks, or more."""
    groups, by_name = find_groups(tasks), {task.name: task for task in tasks}
    below = {name: [by_name[leaf] for leaf in leaves(name, groups)] for name in groups}
    found = {name: _pick(groups[name], members) for name, members in below.items()}
    return {
        name: GroupStandings(groups[name], members, by_size, stand(members, entries))
        for name, (members, by_size) in found.items()
        if members
    }


def _pick(group: Grouping, tasks: Sequence[Task]) -> tuple[tuple[Task, ...], bool]:
    """Return the tasks that count, with their weights, and whether these are sizes."""
    facts = {task.name: task.evaluator.description for task in tasks}
    for entry in group.aggregates:
        filters, by_size = entry.get("filter_list"), bool(entry.get("weight_by_size", True))
        chosen = [
            replace(task, weight=float(len(task.items[REPORTED]) if by_size else 1))
            for task in tasks
            if facts[task.name]["metric"] == entry["metric"]
            and (not filters or facts[task.name]["filter"] in filters)
        ]
        same = [t for t in chosen if facts[t.name]["filter"] == facts[chosen[0].name]["filter"]]
        if same:
            return tuple(same), by_size
    return (), True
