"""Write the generated pages: `python docs/generate.py`; --check only tells whether they rot."""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

os.environ["TERMINAL_WIDTH"] = "90"

import typer

from evomerge.cli.main import app
from evomerge.evaluation import EVALUATORS
from evomerge.executors import EXECUTORS
from evomerge.methods import METHODS
from evomerge.methods.spec import MISSING, MethodSpec, ParameterSpec
from evomerge.search import SEARCHERS, Searcher

FOLDER = Path(__file__).parent
NOTE = "<!-- written by docs/generate.py -->\n\n"
METHODS_INTRODUCTION = """# Merge methods

Written from the methods' own declarations; `evomerge ls methods` shows the same table. A parameter
in a recipe may be a number, a gradient over the layers, or a list of values with filters (see
[recipes](recipes.md)). The last column is where a search looks by default.
`merge_tensors(name, tensors, base, **parameters)` of `evomerge.methods` merges plain tensors.

All arithmetic is done in float32 or wider and rounded once to the result's dtype. Blocks are read
as float32: of float64 models only what `passthrough` copies unscaled keeps its last digits.
"""
PLUG_INS_INTRODUCTION = """Merge methods have [a page of their own](methods.md). Which searcher for
what, and how one is written and tested, is on [the searchers' page](search.md).
"""
FILLED_IN = ("space", "seed", "target", "setup")


def write_cli_page() -> str:
    """Return the page of all commands, as their --help shows them."""
    group = typer.main.get_command(app)
    parts = ["# The command line\n"]
    for name, command in vars(group)["commands"].items():
        context = typer.Context(command, info_name=f"evomerge {name}", max_content_width=90)
        context.terminal_width = 90
        parts.append(f"## {name}\n\n```\n{command.get_help(context).rstrip()}\n```\n")
    return NOTE + "\n".join(parts)


def write_methods_page() -> str:
    """Return the page of merge methods: what, when, parameters, limits, cost, paper."""
    rows = [
        f"| [{name}](#{name}) | {method.base} | {method.summary} |"
        for name, method in METHODS.items()
    ]
    parts = [
        METHODS_INTRODUCTION,
        "| method | base | what it does |\n|---|---|---|",
        "\n".join(rows),
    ]
    for name, method in METHODS.items():
        parts.append(f"\n## {name}\n\n{_prose(method.function)}\n")
        parts.append(f"{_needs(method)}{_promises(method)}{_paper(method)}")
        if method.parameters:
            parts.append("| parameter | values | default | searched |\n|---|---|---|---|")
            parts.append("\n".join(_row(p) for p in method.parameters.values()))
    return NOTE + "\n".join(parts) + "\n"


def write_plug_in_page() -> str:
    """Return the page of searchers, evaluators and executors."""
    parts = ["# Plug-ins\n", PLUG_INS_INTRODUCTION]
    for title, registry in _others():
        parts.append(f"## {title}\n")
        for name, plug_in in registry.items():
            parts.append(f"### {name}\n\n{_prose(plug_in)}\n")
            parts.extend(_declarations(plug_in))
            parts.extend(_options(plug_in))
    return NOTE + "\n".join(parts)


def _declarations(plug_in: type) -> Iterator[str]:
    """Say what a searcher declares and the conformance suite tests."""
    if issubclass(plug_in, Searcher):
        (least, most), kinds = plug_in.goals, ", ".join(sorted(plug_in.kinds)).replace("_", "-")
        goals = f"{least}" if least == most else f"{least} or more"
        told = [f"Goals: {goals}.", f"Tested on: {kinds}." if kinds else ""]
        told += ["Every candidate meets every item."] if plug_in.looks_at_items else []
        paper = inspect.getdoc(sys.modules[plug_in.__module__]) or ""
        yield f"{' '.join(filter(None, told))} Method: {paper.splitlines()[0]}\n"


def _promises(method: MethodSpec) -> str:
    """Say what the method declares and the conformance suite tests."""
    promises = {
        "the order of the models does not matter": method.symmetric,
        "identical models merge to themselves": method.keeps_identical,
        "zero weights give the base": method.zero_gives_base,
        "random masks follow from seed, models' contents, tensor and index alone": method.random,
    }
    told = [promise for promise, kept in promises.items() if kept]
    return f"Tested: {'; '.join(told)}.\n" if told else ""


def _paper(method: MethodSpec) -> str:
    """Return the module's first lines, which name the paper, unless the method's own text does."""
    function = inspect.unwrap(getattr(method.function, "func", method.function))
    if "Paper:" in (inspect.getdoc(method.function) or ""):
        return ""
    module = inspect.getdoc(sys.modules[function.__module__]) or ""
    head = [line for line in module.split("\n\n")[:2] if "(" in line or "http" in line]
    return "\nPaper: " + " ".join(" ".join(head).split()) + "\n" if head else ""


def _needs(method: MethodSpec) -> str:
    most, least = method.max_models, method.min_models
    count = f"{least} model" if most == least else f"{least} or more models"
    if method.base == "required":
        return f"It needs a base model, and takes {count} besides.\n"
    if method.base == "optional":
        return f"It takes {count}, and a base model besides or not.\n"
    return f"It needs no base model, and takes {count}.\n"


def _others() -> Iterator[tuple[str, object]]:
    yield from {"Searchers": SEARCHERS, "Evaluators": EVALUATORS, "Executors": EXECUTORS}.items()


def _prose(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\nArgs:")[0].strip()


def _row(parameter: ParameterSpec) -> str:
    name = f"`{parameter.name}`{' (per model)' if parameter.per_model else ''}"
    values = [str(parameter.range)] if parameter.range else []
    values += ["true, false"] if bool in parameter.kinds else []
    values += [f"`{choice}`" for choice in parameter.choices]
    default = "required" if parameter.default is MISSING else str(parameter.default).lower()
    return f"| {name} | {', '.join(values)} | {default} | {parameter.sought} |"


def _options(plug_in: type) -> Iterator[str]:
    """List a plug-in's options: its own, then those of dataclasses that it inherits."""
    told = {*FILLED_IN}
    for kind in (plug_in, *filter(is_dataclass, plug_in.__mro__[1:])):
        arguments = inspect.cleandoc(kind.__doc__ or "").partition("\nArgs:\n")[2].split("\n\n")[0]
        for entry in re.split(r"^ {4}(?! )", arguments, flags=re.MULTILINE)[1:]:
            option, _, meaning = entry.rstrip().partition(":")
            if option not in told:
                yield f"- `{option}`:" + meaning.replace("\n        ", "\n  ")
                told.add(option)
    if told > {*FILLED_IN}:
        yield ""


PAGES = {
    "cli.md": write_cli_page,
    "methods.md": write_methods_page,
    "plug-ins.md": write_plug_in_page,
}


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    stale = []
    for name, write in PAGES.items():
        text = write()
        page = FOLDER / name
        if "--check" in sys.argv[1:]:
            stale += [] if page.exists() and page.read_text(encoding="utf-8") == text else [name]
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/generate.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
