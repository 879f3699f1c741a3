"""`evomerge evolve`: start a run."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from evomerge.config import RunConfig
    from evomerge.evolve.forecast import Forecast

Settings = TypeVar("Settings", bound=BaseModel)
NAME = "evolve"
EXAMPLE = "evomerge evolve demo --name first --evaluations 28"


def command(  # noqa: PLR0913, PLR0917 - options of a command line
    file: str = typer.Argument(help="A run file, or the name of a shipped one."),
    name: str | None = typer.Option(None, help="Name of the run; the file's, if absent."),
    evaluations: int | None = typer.Option(None, min=1, help="Candidates to try."),
    seed: int | None = typer.Option(None, min=0, help="Seed of everything random."),
    workers: int | None = typer.Option(None, min=1, help="Candidates tried at once."),
    effort: str | None = typer.Option(
        None, help="quick, normal or thorough: what the file leaves open is set by it."
    ),
    task_search_path: list[Path] = typer.Option(
        [], "--task-search-path", help="A folder with lm-eval tasks of your own; may be repeated."
    ),
    test_set: bool = typer.Option(
        False,
        "--i-know-this-is-the-test-set",
        help="Search on public test sets; the verdict says so.",
    ),
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Evolve a merge: forecast, search, verdict, and the winner as a folder."""
    from evomerge.config import load_config

    config = load_config(file)
    changes = {
        "name": name,
        "seed": seed,
        "effort": effort,
        "task_search_path": add_folders(config.task_search_path, task_search_path),
        "i_know_this_is_the_test_set": test_set or None,
        "search": _change(config.search, evaluations=evaluations),
        "executor": _change(config.executor, workers=workers),
    }
    run_and_report(_change(config, **changes), runs, as_json=as_json)


def add_folders(known: list[str], more: list[Path]) -> list[str] | None:
    """Return task folders with those of the command line; None where that names none."""
    return [*known, *(str(folder.absolute()) for folder in more)] if more else None


def _change(settings: Settings, **values: Any) -> Settings:
    """Copy settings with the values that are given; what results is checked like a file."""
    from evomerge.errors import ConfigError, Problem

    given = {name: value for name, value in values.items() if value is not None}
    try:
        said = settings.model_dump(exclude_unset=True)  # what nobody said is left to the effort
        return type(settings).model_validate({**said, **_plain(given)})
    except ValidationError as error:
        problems = [
            Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
            for e in error.errors()
        ]
        raise ConfigError("options", problems) from None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        k: v.model_dump(exclude_unset=True) if isinstance(v, BaseModel) else v
        for k, v in values.items()
    }


def run_and_report(config: "RunConfig", runs: Path, *, as_json: bool = False) -> None:
    """Run to the end and print forecast and result."""
    from evomerge.cli.output import ProgressLine
    from evomerge.evolve import evolve

    try:
        with ProgressLine() as progress:
            result = evolve(
                config,
                runs=runs,
                progress=progress,
                tell_forecast=None if as_json else tell,
            )
    except KeyboardInterrupt:
        if (runs / config.name / "store.db").exists():
            typer.echo(f"\nstopped; go on with: {resume_command(config.name, runs)}", err=True)
        raise
    report(result, as_json=as_json)


def tell(forecast: "Forecast") -> None:
    """Print the forecast; a run does not stop because nobody reads it."""
    from evomerge.cli.output import print_forecast

    with suppress(OSError):
        print_forecast(forecast)


def report(result: "object", *, as_json: bool) -> None:
    """Print a finished run."""
    from evomerge.cli.output import print_json, print_result
    from evomerge.evolve import RunResult

    assert isinstance(result, RunResult)
    if as_json:
        verdict = result.verdict.to_values()
        best = str(result.best) if result.best else None
        cost = {"wall_seconds": result.wall_seconds, "cpu_seconds": result.cpu_seconds}
        print_json({"folder": str(result.folder), "best": best, **cost, "verdict": verdict})
    else:
        print_result(result)


def resume_command(name: str, runs: Path) -> str:
    """Return the command that goes on with a run."""
    where = [] if runs == Path("runs") else ["--runs", str(runs)]
    return shlex.join(["evomerge", "resume", name, *where])
