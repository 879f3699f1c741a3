"""`evomerge demo`: evolve the embedded family."""

from pathlib import Path

import typer

NAME = "demo"
EXAMPLE = "evomerge demo"


def command(
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    evaluations: int | None = typer.Option(None, min=1, help="Candidates to try."),
    seed: int = typer.Option(0, min=0, help="Seed of everything random."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Evolve the embedded family of tiny models: about a minute on two cores."""
    from evomerge.cli.evolve import change, run_and_report
    from evomerge.config import load_config

    name, number = NAME, 1
    while (runs / name).exists():
        number += 1
        name = f"{NAME}-{number}"
    changes = {"name": name, "seed": seed, "search": {"evaluations": evaluations}}
    run_and_report(change(load_config("demo"), changes), runs, as_json=as_json)
