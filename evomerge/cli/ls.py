"""`evomerge ls`: what there is."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from evomerge.methods.spec import ParameterSpec

NAME = "ls"
EXAMPLE = "evomerge ls methods"
Row = dict[str, Any]


def command(
    kind: str = typer.Argument(
        "all",
        help="methods, searchers, evaluators, executors, recipes, configs, models, tasks or all.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List merge methods, searchers, evaluators, executors, shipped recipes and models."""
    from evomerge.cli.output import print_json, print_table
    from evomerge.errors import UnknownName
    from evomerge.registry import suggest

    if kind not in (*KINDS, "all"):
        hint = suggest(kind, list(KINDS))
        raise UnknownName(
            f"there is nothing called {kind!r} to list{hint}", f"Known: {', '.join(KINDS)}"
        )
    tables = {name: list(rows()) for name, rows in KINDS.items() if kind in (name, "all")}
    if as_json:
        print_json(tables if kind == "all" else tables[kind])
        return
    for name, rows in tables.items():
        print_table(name, rows)


def _methods() -> Iterator[Row]:
    from evomerge.methods import METHODS

    for name, spec in METHODS.items():
        yield {
            "name": name,
            "base": spec.base,
            "what it does": spec.summary,
            "parameters": "; ".join(map(_parameter, spec.parameters.values())),
        }


def _parameter(parameter: "ParameterSpec") -> str:
    from evomerge.methods.spec import MISSING

    missing = parameter.default is MISSING
    options = "|".join(str(option).lower() for option in parameter.options)
    return (
        f"{parameter.name}{' per model' * parameter.per_model}"
        + (" (required)" if missing else f" = {str(parameter.default).lower()}")
        + (f" in {parameter.range}" if parameter.range else "")
        + (f" of {options}" if parameter.choices else "")
        + (f" (searched: {parameter.sought})" if parameter.search else "")
    )


def _plug_ins(module: str, table: str) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        import importlib
        import inspect

        for name, plug_in in getattr(importlib.import_module(module), table).items():
            summary = (inspect.getdoc(plug_in) or "").splitlines()[0]
            taken = {"space", "seed", "target", "setup", "self", "ask"}
            options = [
                f"{p.name}" if p.default is p.empty else f"{p.name} = {_default(p.default)}"
                for p in inspect.signature(plug_in).parameters.values()
                if p.name not in taken
            ]
            yield {"name": name, "what it does": summary, "options": ", ".join(options)}

    return rows


def _default(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _recipes() -> Iterator[Row]:
    from evomerge.recipe import library

    for name, path in library().items():
        yield {"name": name, "what it does": _first_comment(path)}


def _configs() -> Iterator[Row]:
    from evomerge.config import shipped_configs

    for name, path in shipped_configs().items():
        yield {"name": name, "what it does": _first_comment(path)}


def _first_comment(path: Any) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")  # type: ignore[no-any-return]  # a Path's text


def _models() -> Iterator[Row]:
    from evomerge.checkpoints.locate import ZOO, zoo_models

    for name in zoo_models():
        yield {"name": f"{ZOO}{name}"}


def _tasks() -> Iterator[Row]:
    from evomerge.evaluation.task import ZOO, zoo_tasks

    for name in zoo_tasks():
        yield {"name": f"{ZOO}{name}"}


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "methods": _methods,
    "searchers": _plug_ins("evomerge.search", "SEARCHERS"),
    "evaluators": _plug_ins("evomerge.evaluation", "EVALUATORS"),
    "executors": _plug_ins("evomerge.executors", "EXECUTORS"),
    "recipes": _recipes,
    "configs": _configs,
    "models": _models,
    "tasks": _tasks,
}
