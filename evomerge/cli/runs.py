"""`evomerge runs`: the runs there are."""

from pathlib import Path
from typing import Any

import typer

NAME = "runs"
EXAMPLE = "evomerge runs"


def command(
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List runs: how far they are, their best search score, whether they beat their baselines."""
    from evomerge.cli.output import print_json, print_table

    folders = sorted(path.parent for path in runs.glob("*/store.db")) if runs.is_dir() else []
    rows = [_describe(folder) for folder in folders]
    if as_json:
        print_json(rows)
    elif rows:
        print_table("", rows)
    else:
        typer.echo(f"there are no runs in {runs}; start one with: evomerge demo")


def _describe(folder: Path) -> dict[str, Any]:
    from datetime import datetime

    from evomerge.errors import StoreError
    from evomerge.store import open_store, tell_state

    try:
        with open_store(folder) as store:
            run, search = store.run(), store.candidates("search")
    except StoreError as error:
        return {"run": folder.name, "state": f"unreadable: {error.what}", "done": 0, "of": 0,
                "best score": None, "verdict": "", "begun": ""}  # fmt: skip
    scores = [row.objective for row in search if row.state == "done" and row.objective is not None]
    verdict = (run.verdict or {}) if run else {}
    begun = datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M") if run else ""
    return {
        "run": folder.name,
        "state": tell_state(folder, run.state) if run else "empty",
        "done": sum(row.state != "asked" for row in search),
        "of": run.config["search"]["evaluations"] if run else 0,
        "best score": max(scores, default=None),
        "verdict": "better" if verdict.get("better") else "not better" if verdict else "",
        "begun": begun,
    }
