"""`evomerge export`: candidates of a run as ordinary folders."""

from pathlib import Path

import typer

NAME = "export"
EXAMPLE = "evomerge export first merges --candidate 0"


def command(
    run: str = typer.Argument(help="Name of the run, or its folder; it may still be going on."),
    out: Path = typer.Argument(help="Where the folders go, one for each candidate."),
    candidate: list[int] = typer.Option(
        [], min=0, help="The candidate of this number; may be repeated."
    ),
    front: bool = typer.Option(
        False, "--front", help="The front of a run of several goals: on validation items, if known."
    ),
    elites: bool = typer.Option(
        False, "--elites", help="What the archive of the search kept to the end."
    ),
    aggregate: str = typer.Option(
        "", metavar="equal|quality", help="Write their average instead, one folder."
    ),
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    force: bool = typer.Option(False, "--force", help="Replace existing folders."),
) -> None:
    """Write candidates of a run as models that transformers loads, with cards that name them."""
    if bool(candidate) + front + elites != 1:
        raise typer.BadParameter("say which: --candidate N, --front or --elites")
    if aggregate not in ("", "equal", "quality"):
        raise typer.BadParameter(f"--aggregate is equal or quality, not {aggregate!r}")
    from evomerge.cli.output import ProgressLine
    from evomerge.errors import StoreError
    from evomerge.evolve import find_run
    from evomerge.evolve.aggregation import average
    from evomerge.evolve.delivery import deliver, find_candidates, find_elites, find_front_rows
    from evomerge.store import open_store

    folder = find_run(run, runs)
    with open_store(folder) as store:
        row, rows = store.run(), store.candidates()
    if row is None:
        raise StoreError(f"{folder} holds no run", "Start it again with `evomerge evolve`")
    if candidate:
        chosen = find_candidates(rows, candidate)
    else:
        chosen = find_front_rows(rows) if front else find_elites(rows)
    with ProgressLine() as progress:
        if aggregate:
            weighted = aggregate == "quality"
            folder = average(row, chosen, out, weighted=weighted, replace=force, progress=progress)
            typer.echo(str(folder))
            return
        for place in deliver(row, rows, chosen, out, replace=force, progress=progress):
            typer.echo(str(place))
