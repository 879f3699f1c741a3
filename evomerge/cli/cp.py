"""`evomerge cp`: take a shipped recipe or run file and make it yours."""

from pathlib import Path

import typer

NAME = "cp"
EXAMPLE = "evomerge cp ties my-recipe.yml"


def command(
    name: str = typer.Argument(help="A shipped recipe or run file; see `evomerge ls`."),
    target: Path | None = typer.Argument(None, help="Where to; NAME.yml here, if absent."),
    force: bool = typer.Option(False, "--force", help="Replace an existing file."),
) -> None:
    """Copy a shipped recipe or run file, to be edited."""
    from evomerge.config import shipped_configs
    from evomerge.errors import OutputError, UnknownName
    from evomerge.recipe import library
    from evomerge.registry import suggest

    shipped = {**library(), **shipped_configs()}
    if name not in shipped:
        hint = suggest(name, list(shipped))
        raise UnknownName(f"nothing shipped is called {name!r}{hint}", "See `evomerge ls`")
    target = target or Path(f"{name}.yml")
    if target.exists() and not force:
        raise OutputError(f"{target} exists already", "Pass --force to replace it")
    try:
        target.write_text(shipped[name].read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from None
    typer.echo(str(target))
