"""`evomerge validate`: find everything that is wrong with a file, before any work."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from evomerge.recipe import Recipe

NAME = "validate"
EXAMPLE = "evomerge validate ties"


def command(
    file: str = typer.Argument(help="A recipe or a run file, or the name of a shipped one."),
    lenient: bool = typer.Option(False, "--lenient", help="Unknown keys are warnings."),
    task_search_path: list[Path] = typer.Option(
        [], "--task-search-path", help="A folder with lm-eval tasks of your own; may be repeated."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check a recipe or a run file, and that its models fit together; nothing is written."""
    from evomerge.cli.output import print_json

    if _is_run_file(file):
        facts = _check_run(file, task_search_path)
    else:
        facts = _check_recipe(file, lenient, as_json)
    if as_json:
        print_json(facts)
        return
    notes = facts.pop("notes", [])
    typer.echo(f"{file} is well-formed: " + ", ".join(f"{k} {v}" for k, v in facts.items()))
    for note in notes:
        typer.echo(note)


def _is_run_file(file: str) -> bool:
    from evomerge.config import shipped_configs
    from evomerge.recipe.yaml_document import read_all_yaml

    place = shipped_configs().get(file, Path(file))
    if not place.is_file():
        return False
    first, *_ = read_all_yaml(place.read_text(encoding="utf-8", errors="replace"), file) or [None]
    return isinstance(first, dict) and bool({"genome", "tasks"} & first.keys())


def _check_recipe(file: str, lenient: bool, as_json: bool) -> dict[str, Any]:
    from evomerge.engine import Models, make_plan
    from evomerge.recipe import load_recipe

    recipe = load_recipe(file, lenient=lenient)
    steps = list(_steps(recipe))
    for step in steps if not as_json else []:
        typer.echo(_sentence(step))
    told = {"steps": steps} if as_json else {}
    if recipe.output == "lora":
        return _check_adapters(recipe) | told
    plan = make_plan(recipe, Models())
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)
    size = sum(shape.bytes for shape in plan.shapes)
    return {
        "method": plan.spec.name,
        "models": len(plan.recipe.models),
        "tensors": len(plan.tensors),
        "dtype": plan.dtype,
        "bytes": size,
    } | told


def _check_adapters(recipe: "Recipe") -> dict[str, Any]:
    from evomerge.engine import Models
    from evomerge.engine.lora import AdapterMerge

    merge = AdapterMerge(recipe, Models())
    modules = {name for adapter in merge.adapters for name in adapter.modules}
    return {"method": recipe.method, "adapters": len(merge.adapters), "modules": len(modules)}


def _steps(recipe: "Recipe") -> Iterator[dict[str, Any]]:
    """Yield what is merged of what: recipes inside first, the result last."""
    parts = (*recipe.recipes, recipe)
    names = {part: part.name or f"step {n}" for n, part in enumerate(parts, start=1)}
    names[recipe] = recipe.name or "the result"
    for part in parts:
        named = {model: model if isinstance(model, str) else names[model] for model in part.inputs}
        base = part.base_model and named[part.base_model]
        yield {
            "name": names[part],
            "method": part.method,
            "models": [name for name in named.values() if name != base],
            "base_model": base,
            "modules": [module.name for module in part.modules],
            "slices": sum(len(m.slices) for m in part.sections if not m.merges_whole_models),
        }


def _sentence(step: dict[str, Any]) -> str:
    parts = [f"{step['name']}: {step['method']} of {', '.join(step['models']) or 'the base'}"]
    parts += [f"on {step['base_model']}"] if step["base_model"] else []
    parts += [f"in the modules {', '.join(step['modules'])}"] if step["modules"] else []
    parts += [f"in {step['slices']} slices"] if step["slices"] else []
    return " ".join(parts)


def _check_run(file: str, folders: list[Path]) -> dict[str, Any]:
    from evomerge.cli.evolve import add_folders
    from evomerge.config import load_config
    from evomerge.evolve.prepare import check_run

    config = load_config(file)
    more = add_folders(config.task_search_path, folders)
    return check_run(config.model_copy(update={"task_search_path": more}) if more else config)
