"""What people see: tables, JSON, a progress line. The only place that prints."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rich.progress import TaskID

    from evomerge.evolve import RunResult
    from evomerge.evolve.comparison import Estimate, Line
    from evomerge.evolve.forecast import Forecast
    from evomerge.evolve.verdict import Verdict


class Screen(Console):
    """A console that tells when nobody reads any more, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        """Let the caller decide."""
        raise BrokenPipeError


console = Screen(highlight=False)
err_console = Screen(stderr=True, highlight=False)
QUIET_STEP = 10.0
"""Seconds between progress lines where there is no terminal."""


def print_json(value: Any) -> None:
    """Print plain values as JSON; NaN becomes null."""
    typer.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def write_json(value: Any, file: Path) -> None:
    """Write plain values as JSON; NaN becomes null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that have the same keys; numbers to the right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in rows[0] if rows else ():
        numeric = all(isinstance(row[name], (int, float)) for row in rows)
        table.add_column(str(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_show(value)) for value in row.values()))
    console.print(table)


def print_verdict(verdict: "Verdict") -> None:
    """Print the verdict's tables and its sentence."""
    tasks = list(verdict.lines[0].tasks)
    title = f"Test: {verdict.items} items that no search has seen"
    rows = [("merge" if line.kind == "winner" else line.kind, line) for line in verdict.lines]
    _print_lines(title, rows, ("score", "95 % interval", "lead", "won:lost", "p"), _totals)
    if len(tasks) > 1:
        console.print()
        low = set(verdict.lowered)
        title = "By task (↓: lower is better)" if low else "By task"
        columns = [f"{name} ↓" if name in low else name for name in tasks]
        _print_lines(title, rows, columns, lambda line: _by_task(line, tasks))
    if verdict.path:
        console.print(f"\nThe merge is a path: {escape(verdict.path)}.")
    console.print()
    sure = verdict.better and not verdict.doubtful
    console.print(escape(verdict.sentence), style="bold green" if sure else "bold yellow")


def _print_lines(
    title: str,
    rows: "Sequence[tuple[str, Line]]",
    columns: Sequence[str],
    cells: "Callable[[Line], list[str]]",
) -> None:
    console.print(escape(title), style="italic")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("model", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for mark, line in rows:
        style = "bold" if line.kind == "winner" else ""
        table.add_row(mark, escape(line.label), *cells(line), style=style)
    console.print(table)


def print_forecast(forecast: "Forecast") -> None:
    """Print what the run will cost."""
    f = forecast
    each = f"{f.seconds_per_candidate:.2f} s" if f.seconds_per_candidate else "next to nothing"
    from evomerge.checkpoints.writer import show_bytes

    memory = f", {show_bytes(f.memory)} of live models" if f.memory else ""
    console.print(
        f"Forecast: {f.candidates} candidates × {f.items['search']} items × "
        f"{1000 * f.seconds_per_candidate / max(f.items['search'], 1):.2f} ms ({each} a candidate, "
        f"{f.merge_share:.0%} of it merging) in {f.genes} genes; then {f.finalists} finalists × "
        f"{f.items['validation']} and {f.baselines + 1} models × {f.items['test']} items. "
        f"About {_duration(f.seconds)} with {f.workers} worker{'s' * (f.workers > 1)}{memory}. "
        f"Effort: {f.effort}."
    )
    if f.race:
        console.print(
            f"Racing: who is clearly behind the best after {f.race.first} or more items is "
            "dropped, so the search may cost less."
        )
    for note in f.notes:
        console.print(escape(note))


def print_result(result: "RunResult") -> None:
    """Print verdict, cost and where the winner is."""
    print_verdict(result.verdict)
    scores = {"search": result.verdict.search_score, "validation": result.verdict.validation_score}
    unknown = "unknown (it did not meet all items)"
    told = ", ".join(
        f"{name} {unknown if score is None else f'{score:.3f}'}" for name, score in scores.items()
    )
    assert result.verdict.lines[0].overall is not None
    console.print(
        f"The winner's score by split: {told}, test {result.verdict.lines[0].overall.mean:.3f}. "
        f"Cost: {_duration(result.wall_seconds)}, {_duration(result.cpu_seconds)} of CPU."
    )
    if result.best:
        console.print("The winner is in ", end="")
        typer.echo(str(result.best))


class ProgressLine:
    """Rate, time left, best so far: live on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._live = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=err_console,
        )
        self._task: TaskID | None = None
        self._label, self._done, self._total, self._began, self._spoken = "", 0, 0, 0.0, 0.0

    def begin(self, label: str, total: int) -> None:
        """Start a phase."""
        self._label, self._done, self._total = label, 0, total
        self._began = self._spoken = time.monotonic()
        if err_console.is_terminal:
            self._task = self._live.add_task(label, total=total, note="", rate="")
            self._live.start()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report steps done."""
        self._done += steps
        now = time.monotonic()
        rate = _rate(self._done / max(now - self._began, 1e-9))
        if self._task is not None:
            self._live.update(self._task, advance=steps, note=note, rate=rate)
        elif now - self._spoken > QUIET_STEP or self._done == self._total:
            self._spoken = now
            typer.echo(f"{self._label} {self._done}/{self._total} {rate} {note}".rstrip(), err=True)

    def end(self) -> None:
        """Close the phase."""
        if self._task is not None:
            self._live.refresh()
            self._live.stop()
            self._live.remove_task(self._task)
            self._task = None

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _totals(line: "Line") -> list[str]:
    if line.overall is None:
        return ["failed", escape(line.failure)]
    found = line.overall
    score = [f"{found.mean:.3f}", show_interval(found)]
    if line.difference is None:
        return score
    return [
        *score,
        f"{line.difference:+.3f}",
        f"{line.wins}:{line.losses}",
        show_p_value(line.p_value),
    ]


def show_interval(found: "Estimate") -> str:
    """Return an interval for a table; nothing where there is none."""
    return "" if found.low is None else f"{found.low:.3f} – {found.high:.3f}"


def show_p_value(value: float | None) -> str:
    """Return a p value for a table; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _by_task(line: "Line", tasks: Sequence[str]) -> list[str]:
    return [f"{line.tasks[name].mean:.3f}" if name in line.tasks else "" for name in tasks]


def _show(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else str(value)


def escape(text: str) -> str:
    """Return text that rich prints as it is."""
    return text.replace("[", "\\[")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{1 / max(per_second, 1e-9):.1f} s each"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
