"""`evomerge merge`: carry out a recipe into a folder."""

from pathlib import Path

import typer

NAME = "merge"
EXAMPLE = "evomerge merge ties ./merged"


def command(
    recipe: str = typer.Argument(help="A recipe file, or the name of a shipped one."),
    out: Path = typer.Argument(help="The folder to make."),
    seed: int = typer.Option(0, "--seed", "--random-seed", min=0, help="Seed of random masks."),
    shard: str = typer.Option(
        "5B", "--out-shard-size", help="Most bytes of a weight file, like 5B, 500M."
    ),
    with_tokenizer: bool = typer.Option(
        True, "--copy-tokenizer/--no-copy-tokenizer", help="Take the tokenizer along."
    ),
    lenient: bool = typer.Option(False, "--lenient", help="Unknown keys are warnings."),
    force: bool = typer.Option(False, "--force", help="Replace an existing folder."),
) -> None:
    """Merge models into an ordinary Hugging Face folder; it appears complete or not at all."""
    from evomerge.cli.output import ProgressLine
    from evomerge.engine import merge
    from evomerge.recipe import load_recipe

    with ProgressLine() as progress:
        folder = merge(
            load_recipe(recipe, lenient=lenient),
            out,
            seed=seed,
            shard_bytes=_read_size(shard),
            replace=force,
            copy_tokenizer_files=with_tokenizer,
            progress=progress,
        )
    typer.echo(str(folder))


def _read_size(text: str) -> int:
    units = {"K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
    digits, unit = text[:-1], text[-1:].upper()
    try:
        size = int(float(digits) * units[unit]) if unit in units else int(text)
    except ValueError:
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; write 5B, 500M or a number of bytes")
    return size
