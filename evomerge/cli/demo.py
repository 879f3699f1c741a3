"""`evomerge demo`: evolve the embedded family."""

from pathlib import Path

import typer

NAME = "demo"
EXAMPLE = "evomerge demo"


def command(
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    seed: int = typer.Option(0, min=0, help="Seed of everything random."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Evolve the embedded family of tiny models: about a minute on two cores."""
    from evomerge.cli.evolve import run_and_report
    from evomerge.config import load_config

    config = load_config("demo")
    name, number = config.name, 1
    while (runs / name).exists():
        number += 1
        name = f"{config.name}-{number}"
    run_and_report(config.model_copy(update={"name": name, "seed": seed}), runs, as_json=as_json)
