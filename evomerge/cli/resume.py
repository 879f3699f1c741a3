"""`evomerge resume`: go on with a run that was interrupted."""

from pathlib import Path

import typer

NAME = "resume"
EXAMPLE = "evomerge resume first"


def command(
    run: str = typer.Argument(help="Name of the run, or its folder."),
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Go on with an interrupted run, as if it had not been; a finished one is shown again."""
    from evomerge.cli.evolve import report, resume_command, tell
    from evomerge.cli.output import ProgressLine
    from evomerge.evolve import resume

    try:
        with ProgressLine() as progress:
            forecast = None if as_json else tell
            result = resume(run, runs=runs, progress=progress, tell_forecast=forecast)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; go on with: {resume_command(run, runs)}", err=True)
        raise
    report(result, as_json=as_json)
