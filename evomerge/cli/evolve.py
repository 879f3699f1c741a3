"""`evomerge evolve`: start a run."""

import inspect
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evomerge.cli.foreign_options import (
    ForeignOptions,
    accept_foreign_options,
    find_contradictions,
    find_slips,
    place_run,
)

if TYPE_CHECKING:
    from evomerge.config import RunConfig
    from evomerge.evolve.forecast import Forecast

NAME = "evolve"
EXAMPLE = "evomerge evolve demo --name first --evaluations 28"
logger = logging.getLogger(__name__)


@accept_foreign_options
def command(  # noqa: PLR0913, PLR0917 - options of a command line
    file: str = typer.Argument(help="A run file, or the name of a shipped one."),
    name: str | None = typer.Option(None, help="Name of the run; the file's, if absent."),
    evaluations: int | None = typer.Option(
        None, "--evaluations", "--max-fevals", min=1, help="Candidates to try."
    ),
    seconds: float | None = typer.Option(
        None, "--seconds", "--timeout", help="End the search after that much wall time."
    ),
    algorithm: str | None = typer.Option(
        None, help="Searcher, in place of the file's; see `evomerge ls searchers`."
    ),
    start: Path | None = typer.Option(
        None, "--start", "--warm-start", help="A merge to begin at: a recipe, or a run's folder."
    ),
    replay: Path | None = typer.Option(
        None, help="A run, or its log, whose language model's answers are taken again: asks none."
    ),
    settings: list[str] = typer.Option(
        [], "--set", help="Any other key of the run file, as section.key=value; may be repeated."
    ),
    seed: int | None = typer.Option(
        None, "--seed", "--random-seed", min=0, help="Seed of everything random."
    ),
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
    *,
    theirs: ForeignOptions,
) -> None:
    """Evolve a merge: forecast, search, verdict, and the winner as a folder.

    Files and flags of mergekit-evolve and LLM-Evo-Merge are understood, too (docs/migration.md).
    With --storage-path PATH, PATH is the folder of the run.
    """
    from evomerge.config import load_config
    from evomerge.errors import ConfigError
    from evomerge.llm_client import KEY_VARIABLE

    name, runs = place_run(theirs, name, runs)
    wrong = [*find_slips(theirs, seconds=seconds)]
    wrong += find_contradictions(theirs, workers=workers, algorithm=algorithm)
    if wrong:
        raise ConfigError("options", wrong)
    if idle := theirs.without_effect():
        logger.warning("without effect: %s", idle)
    config = change(load_config(file), *map(read_setting, settings))
    if theirs.api_key is not None:  # it is kept nowhere else: others read what a run leaves
        os.environ[config.search.options.get("api_key_variable", KEY_VARIABLE)] = theirs.api_key
    foreign = theirs.changes()
    chosen = algorithm or foreign["search"].get("algorithm")
    config = _make_room(config, chosen, begun=start is not None)
    ours = {
        "name": name,
        "seed": seed,
        "effort": effort,
        "task_search_path": add_folders(config.task_search_path, task_search_path),
        "i_know_this_is_the_test_set": test_set or None,
        "search": {
            "algorithm": chosen,
            "evaluations": evaluations,
            "seconds": seconds,
            "replay": replay and str(replay.absolute()),
        },
        "genome": {"start": start and str(start.absolute())},
        "executor": {"workers": workers},
    }
    run_and_report(change(config, foreign, ours), runs, as_json=as_json)


def add_folders(known: list[str], more: list[Path]) -> list[str] | None:
    """Return task folders with those of the command line; None where that names none."""
    return [*known, *(str(folder.absolute()) for folder in more)] if more else None


def read_setting(text: str) -> dict[str, Any]:
    """Read `section.key=value` as a part of a run file; the value is YAML.

    Raises:
        typer.BadParameter: it is not of that form.
    """
    from evomerge.recipe.yaml_document import read_yaml

    path, found, value = text.partition("=")
    keys = path.split(".")
    if not found or not all(map(str.strip, keys)):
        raise typer.BadParameter(f"{text!r} is no setting; write search.sigma=0.1, for example")
    part: Any = read_yaml(value, f"--set {path}")
    for key in reversed(keys):
        part = {key.strip(): part}
    return dict(part)


def change(config: "RunConfig", *parts: Mapping[str, Any]) -> "RunConfig":
    """Copy a run file with other values, each part over those before; None changes nothing.

    What results is checked like a file. What nobody said is left to the effort.

    Raises:
        ConfigError: listing what is wrong with the values.
    """
    from evomerge.config import RunConfig
    from evomerge.errors import ConfigError
    from evomerge.recipe.shape import Findings, read_shape

    document = config.model_dump(exclude_unset=True)
    for part in parts:
        document = _overlay(document, part)
    findings = Findings()
    changed = read_shape(RunConfig, document, findings)
    if findings.problems or changed is None:
        raise ConfigError("options", findings.problems)
    return changed


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and key != "start":
            inside = merged.get(key)
            merged[key] = _overlay(inside if isinstance(inside, Mapping) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged


def _make_room(config: "RunConfig", algorithm: str | None, *, begun: bool) -> "RunConfig":
    """Leave out what the file says to a searcher, and the command line makes pointless."""
    from evomerge.search import SEARCHERS

    said: Sequence[str] = list(config.search.options)
    lost = ["mean"] if begun and "mean" in said else []
    if algorithm not in (None, config.search.algorithm) and algorithm in SEARCHERS.names():
        known = inspect.signature(SEARCHERS.get(algorithm)).parameters
        lost += [option for option in said if option not in known and option not in lost]
    if not lost:
        return config
    logger.warning("left out of the run file's `search`: %s", ", ".join(lost))
    search = config.search.model_dump(exclude_unset=True)
    kept = {key: value for key, value in search.items() if key not in lost}
    return config.model_copy(update={"search": type(config.search).model_validate(kept)})


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
