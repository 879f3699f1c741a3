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
    from evomerge.cli import evolve

    name, number = NAME, 1
    while (runs / name).exists():
        number += 1
        name = f"{NAME}-{number}"
    evolve.command(
        "demo",
        name,
        evaluations,
        seed,
        workers=None,
        effort=None,
        task_search_path=[],
        test_set=False,
        runs=runs,
        as_json=as_json,
    )
