"""`evomerge extract-lora`: what fine-tuning changed, as a LoRA adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from evomerge.adapters.draft import Draft

NAME = "extract-lora"
EXAMPLE = "evomerge extract-lora zoo:sort zoo:base ./lora --max-rank 8"


def command(  # noqa: PLR0913, PLR0917 - the flags of mergekit-extract-lora
    places: list[str] = typer.Argument(
        None, metavar="MODEL BASE OUT", help="The same three as below, in order."
    ),
    model: str = typer.Option("", "--model", help="The fine-tuned model."),
    base: str = typer.Option("", "--base-model", help="The model it was made from."),
    out: str = typer.Option("", "--out-path", help="The folder to make."),
    max_rank: int = typer.Option(128, "--max-rank", min=1, help="Most rank of a module's change."),
    distribute: bool = typer.Option(
        True,
        "--distribute-scale/--no-distribute-scale",
        help="Share the singular values between both factors, or leave them to A.",
    ),
    embed_lora: bool = typer.Option(
        False,
        "--embed-lora/--no-embed-lora",
        help="Decompose embeddings and head, too, instead of keeping them whole.",
    ),
    save: list[str] = typer.Option(
        [], "--save-module", help="Keep a module whole; by name, or its last word. Repeatable."
    ),
    exclude: list[str] = typer.Option(
        [], "--exclude-regex", "-e", help="Leave out modules whose name matches. Repeatable."
    ),
    include: list[str] = typer.Option(
        [], "--include-regex", "-i", help="Decompose only modules whose name matches. Repeatable."
    ),
    epsilon: float = typer.Option(
        0.0, "--sv-epsilon", min=0.0, help="Drop singular values not above this."
    ),
    skip: bool = typer.Option(
        False,
        "--skip-undecomposable",
        help="Leave out norms and the like, instead of keeping them.",
    ),
    force: bool = typer.Option(False, "--force", help="Replace an existing folder."),
) -> None:
    """Extract a LoRA adapter from a fine-tuned model; peft loads it onto the base."""
    from evomerge.adapters.extraction import Extraction, extract_lora
    from evomerge.cli.output import ProgressLine

    model, base, out = _fill([model, base, out], places or [])
    settings = Extraction(
        max_rank=max_rank,
        distribute_scale=distribute,
        embed_lora=embed_lora,
        save_modules=tuple(save),
        exclude=tuple(exclude),
        include=tuple(include),
        epsilon=epsilon,
        skip_undecomposable=skip,
    )
    with ProgressLine() as progress:
        draft = extract_lora(model, base, Path(out), settings, replace=force, progress=progress)
    _print(draft)
    typer.echo(out)


def _fill(options: list[str], places: list[str]) -> list[str]:
    """Give the arguments without a flag to the options that were not named, in order."""
    missing = [number for number, value in enumerate(options) if not value]
    if len(places) != len(missing):
        raise typer.BadParameter(
            "name MODEL, BASE and OUT, each once: in this order, or by --model, --base-model and "
            "--out-path"
        )
    for number, value in zip(missing, places, strict=True):
        options[number] = value
    return options


def _print(draft: "Draft") -> None:
    from evomerge.cli.output import print_table

    kinds: dict[str, list[str]] = {}
    for name in draft.changes:
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    rows = [_row(draft, kind, names) for kind, names in kinds.items()]
    print_table("", [*rows, _row(draft, "all", list(draft.changes))])
    if draft.whole:
        typer.echo(f"Kept whole: {len(draft.whole)} tensors")


def _row(draft: "Draft", kind: str, names: list[str]) -> dict[str, Any]:
    found = [draft.changes[name] for name in names]
    ranks = sorted({change.rank for change in found})
    total = sum(change.total for change in found)
    kept = sum(change.share * change.total for change in found)
    return {
        "modules": kind,
        "count": len(found),
        "rank": f"{ranks[0]} – {ranks[-1]}" if len(ranks) > 1 else str(ranks[0]),
        "squared norm kept": f"{kept / total:.2%}" if total else "100.00%",
    }
