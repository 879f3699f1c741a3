"""`evomerge validate`: find everything that is wrong with a file, before any work."""

from pathlib import Path
from typing import Any

import typer

NAME = "validate"
EXAMPLE = "evomerge validate ties"


def command(
    file: str = typer.Argument(help="A recipe or a run file, or the name of a shipped one."),
    lenient: bool = typer.Option(False, "--lenient", help="Unknown keys are warnings."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check a recipe or a run file, and that its models fit together; nothing is written."""
    from evomerge.cli.output import print_json

    facts = _check_run(file) if _is_run_file(file) else _check_recipe(file, lenient)
    if as_json:
        print_json(facts)
    else:
        typer.echo(f"{file} is well-formed: " + ", ".join(f"{k} {v}" for k, v in facts.items()))


def _is_run_file(file: str) -> bool:
    from evomerge.config import shipped_configs
    from evomerge.recipe.yaml_document import read_yaml

    place = shipped_configs().get(file, Path(file))
    if not place.is_file():
        return False
    document = read_yaml(place.read_text(encoding="utf-8", errors="replace"), file)
    return isinstance(document, dict) and bool({"genome", "tasks"} & document.keys())


def _check_recipe(file: str, lenient: bool) -> dict[str, Any]:
    from evomerge.engine import Models, make_plan
    from evomerge.recipe import load_recipe

    plan = make_plan(load_recipe(file, lenient=lenient), Models())
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)
    size = sum(shape.bytes for shape in plan.shapes)
    return {
        "method": plan.spec.name,
        "models": len(plan.recipe.models),
        "tensors": len(plan.tensors),
        "dtype": plan.dtype,
        "bytes": size,
    }


def _check_run(file: str) -> dict[str, Any]:
    from evomerge.config import load_config
    from evomerge.evolve.prepare import check_run

    return check_run(load_config(file))
