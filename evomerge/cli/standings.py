"""What `evomerge eval` shows: a table over all tasks, one of each group, one of each task."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from evomerge.cli.output import console, escape, show_interval, show_p_value

if TYPE_CHECKING:
    from evomerge.evaluation import Task
    from evomerge.evolve.measurement import SideBySide
    from evomerge.evolve.measurement.standings import GroupStandings, Standing

COLUMNS = ("model", "score", "95 % interval", "better by", "won:lost", "p")
WIDEST = 30
"""Longer names and reasons are folded."""
ALONE = 3
"""How many of the columns there are for one model."""


def print_standings(found: "SideBySide") -> None:
    """Print where the models stand: over all tasks, where they have a mean, and in each."""
    tables = list(_tables(found))
    cells = {title: [_cells(each) for each in standings] for title, standings in tables}
    count = len(COLUMNS) if len(found.models) > 1 else ALONE
    rows = [COLUMNS, *(row for table in cells.values() for row in table)]
    widths = [max(len(row[place]) for row in rows if len(row) > place) for place in range(count)]
    for title, _ in tables:
        _print_table(title, cells[title], widths)
        console.print()
    _print_notes(found)


def _print_notes(found: "SideBySide") -> None:
    for each in found.overall:
        if each.failure:
            console.print(escape(f"{each.model} failed: {each.failure}\n"), style="bold red")
    dtypes = {str(m.facts["model_dtype"]).removeprefix("torch.") for m in found.models if m.facts}
    where = f"{' or '.join(sorted(dtypes))} on {found.settings['device']}"
    notes = [f"Computed in {where}."] if dtypes else []
    if len(found.models) > 1:
        notes.append(
            "Each model is compared with the first: won and lost items, and p of a two-sided exact "
            "paired test, Holm-corrected over the models."
        )
    if notes:
        console.print(" ".join(notes), style="dim")


def _tables(found: "SideBySide") -> "Iterator[tuple[str, Sequence[Standing]]]":
    """Yield titles and standings; a group stands before the first of its tasks."""
    groups = dict(found.by_group)
    whole = any(len(group.tasks) == len(found.tasks) for group in groups.values())
    if len(found.tasks) > 1 and not whole and all(task.direction > 0 for task in found.tasks):
        yield "All tasks (weighted mean)", found.overall
    for task in found.tasks:
        for name in [name for name, group in groups.items() if _holds(group, task)]:
            group = groups.pop(name)
            yield f"{name} ({_describe_group(group)})", group.models
        yield f"{task.name} ({_describe(task)})", found.by_task[task.name]


def _holds(group: "GroupStandings", task: "Task") -> bool:
    return any(member.name == task.name for member in group.tasks)


def _describe_group(group: "GroupStandings") -> str:
    items = sum(len(task.items["test"]) for task in group.tasks)
    way = "by size" if group.by_size else "all alike"
    tasks = f"{len(group.tasks)} task{'s' * (len(group.tasks) > 1)}"
    return f"group of {tasks}, {way}: {_measure(group.tasks[0], items)}"


def _describe(task: "Task") -> str:
    return _measure(task, len(task.items["test"]))


def _measure(task: "Task", items: int) -> str:
    from evomerge.evolve.measurement.results_file import name_metric

    way = "" if task.direction > 0 else "lower is better"
    return ", ".join(filter(None, (f"{items} items", name_metric(task), way)))


def _cells(standing: "Standing") -> list[str]:
    if standing.score is None:
        return [standing.model, "failed"]
    shown = [standing.model, f"{standing.score.mean:.4f}", show_interval(standing.score)]
    if standing.better_by is None:
        return [*shown, "first", "", ""]
    counted = f"{standing.won}:{standing.lost}" if standing.p_value is not None else ""
    return [*shown, f"{standing.better_by:+.4f}", counted, show_p_value(standing.p_value)]


def _print_table(title: str, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    console.print(escape(title), style="bold")
    table = Table(box=None, pad_edge=False)
    for name, width in zip(COLUMNS, widths, strict=False):
        table.add_column(
            name,
            justify="left" if name == COLUMNS[0] else "right",
            overflow="fold",
            min_width=min(width, WIDEST),
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row[: len(widths)]))
    console.print(table)
