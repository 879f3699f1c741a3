"""`evomerge show`: one run, its candidates, its verdict, a recipe."""

from pathlib import Path
from typing import Any

import typer

NAME = "show"
EXAMPLE = "evomerge show first"


def command(
    run: str = typer.Argument(help="Name of the run, or its folder."),
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    top: int = typer.Option(10, min=1, help="How many candidates."),
    recipe: int | None = typer.Option(
        None, min=0, help="Print the recipe of this candidate, by its number."
    ),
    pareto: bool = typer.Option(
        False, "--pareto", help="Show the front of several goals, its knee, its hypervolume."
    ),
    archive: bool = typer.Option(
        False, "--archive", help="Show what the searcher's archive kept, and what for."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON."),
) -> None:
    """Show a run: its best candidates, its failures, its verdict; or one candidate's recipe."""
    from dataclasses import replace

    from evomerge.cli.output import print_json
    from evomerge.errors import StoreError
    from evomerge.evolve import find_run
    from evomerge.store import open_store, tell_state

    if pareto + archive + (recipe is not None) > 1:
        raise typer.BadParameter("--pareto, --archive and --recipe show different things: choose")

    folder = find_run(run, runs)
    with open_store(folder) as store:
        row, candidates = store.run(), store.candidates()
    if row is None:
        raise StoreError(f"{folder} holds no run", "Start it again with `evomerge evolve`")
    row = replace(row, state=tell_state(folder, row.state))
    if recipe is not None:
        _print_recipe(candidates, recipe)
    elif pareto:
        from evomerge.cli.front import print_fronts

        print_fronts(row, candidates, as_json=as_json)
    elif archive:
        from evomerge.cli.archive import print_archive

        print_archive(candidates, as_json=as_json)
    elif as_json:
        print_json(_values(row, candidates))
    else:
        _print_run(row, candidates, top)


def _print_recipe(candidates: list[Any], number: int) -> None:
    from evomerge.errors import UnknownName
    from evomerge.recipe import write_yaml

    found = next((c for c in candidates if c.label == f"candidate {number}"), None)
    if found is None:
        last = sum(c.stage == "search" for c in candidates) - 1
        raise UnknownName(f"the run has no candidate {number}", f"It has 0 to {last}")
    typer.echo(write_yaml(dict(found.recipe)), nl=False)


def _values(row: Any, candidates: list[Any]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"run": asdict(row) if row else None, "candidates": [asdict(c) for c in candidates]}


def _print_run(row: Any, candidates: list[Any], top: int) -> None:
    from evomerge.cli.output import console, print_table, print_verdict
    from evomerge.evaluation.audit import describe_measures
    from evomerge.evolve.verdict import read_verdict
    from evomerge.store import RACED_OUT

    search = [c for c in candidates if c.stage == "search"]
    failed = [c for c in search if c.error]
    done = [c for c in search if c.state == "done"]
    raced_out = [c for c in search if c.state == RACED_OUT]
    planned = row.config["search"]["evaluations"]
    early = row.state == "finished" and len(search) < planned
    console.print(
        f"{row.name}: {row.state}, {len(done)} of {len(search) if early else planned} candidates "
        f"done, {len(raced_out)} raced out, {len(failed)} failed"
        + (f" (the search ended before it had tried all {planned})" if early else "")
    )
    best = sorted(done, key=lambda c: -c.objective)[:top]
    if best:
        print_table("Best of the search (items that the search saw)", _tell_best(best))
    elif raced_out:
        furthest = sorted(raced_out, key=lambda c: -c.objective)[:top]
        print_table("All were raced out; best by estimate", [_raced_out(c) for c in furthest])
    _print_layers(search)
    for c in failed[:3]:
        console.print(f"failed: {c.label}: {c.error}", markup=False)
    if row.verdict:
        console.print()
        print_verdict(read_verdict(row.verdict))
    for task, measures in _winner_audit(candidates).items():
        console.print(f"The winner's answers to {task}: {describe_measures(measures)}.")


def _print_layers(search: list[Any]) -> None:
    """Say what paths saved by being tried together, phase by phase."""
    from evomerge.cli.output import console

    for phase in dict.fromkeys(c.phase for c in search):
        found = [c.layers for c in search if c.phase == phase]
        run, asked = map(sum, zip(*found, strict=True))
        if asked > run:
            told = f" ({phase})" if phase else ""
            console.print(
                f"Layers{told}: {run:,} run of {asked:,} asked for, {asked / max(run, 1):.1f} "
                "times fewer, because paths that begin alike were scored together",
                markup=False,
            )


def _winner_audit(candidates: list[Any]) -> dict[str, Any]:
    tested = [c for c in candidates if c.stage == "test"]
    return dict(tested[0].audit) if tested else {}


def _raced_out(c: Any) -> dict[str, Any]:
    return {
        "candidate": c.label.removeprefix("candidate "),
        "estimate": c.objective,
        "items": c.items,
        "clearly behind": c.rival,
    }


def _tell_best(best: list[Any]) -> list[dict[str, Any]]:
    """Return lines of candidates, and what they are and came of, where that is known."""
    from evomerge.evolve.origins import say_how

    rows = [_candidate(c) for c in best]
    if any(c.origin.get("what") for c in best):
        rows = [
            {**row, "what": c.origin.get("what", "")} for row, c in zip(rows, best, strict=True)
        ]
    if any(c.origin.get("how") for c in best):
        rows = [{**row, "from": say_how(c.origin)} for row, c in zip(rows, best, strict=True)]
    return rows


def _candidate(c: Any) -> dict[str, Any]:
    return {
        "candidate": c.label.removeprefix("candidate "),
        **({"phase": c.phase} if c.phase else {}),
        "search score": c.objective,
        "items": c.items,
        "merge s": c.seconds.get("merge", float("nan")),
        "evaluate s": c.seconds.get("evaluate", float("nan")),
    }
