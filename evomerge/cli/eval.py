"""`evomerge eval`: measure models side by side."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from evomerge.evolve.measurement import SideBySide

NAME = "eval"
EXAMPLE = "evomerge eval zoo:base zoo:sort --run-file demo --limit 20"


def command(  # noqa: PLR0913, PLR0917 - what a user may decide about a measurement
    models: list[str] = typer.Argument(
        help="Folders, hub ids, zoo:NAME, GGUF files, recipes not yet merged."
    ),
    tasks: str = typer.Option(
        "", "--tasks", "-t", help="Names of lm-eval's tasks or groups, or run files; by commas."
    ),
    run_file: str | None = typer.Option(
        None, help="A run file, or the name of a shipped one; its tasks on its test items."
    ),
    limit: int | None = typer.Option(
        None, "--limit", "-L", min=1, help="Most items of each task, drawn by seed."
    ),
    task_search_path: list[Path] = typer.Option(
        [], "--task-search-path", "--include_path", help="Folder of your own lm-eval tasks."
    ),
    num_fewshot: int | None = typer.Option(
        None, "--num-fewshot", "--num_fewshot", "-f", min=0, help="Examples before each question."
    ),
    batch_size: str = typer.Option(
        "auto", "--batch-size", "--batch_size", "-b", help="Requests at once of --scorer harness."
    ),
    chat_template: bool = typer.Option(
        False, "--apply-chat-template", help="Ask in the model's own chat format."
    ),
    scorer: str | None = typer.Option(
        None, help="own: fast, same scores; harness: lm-eval's HFLM. Run files say; else own."
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the draw, and of random masks."),
    device: str = typer.Option("auto", help="cpu, cuda, or auto: the best there is."),
    output: Path | None = typer.Option(
        None,
        "--output",
        "--output_path",
        "-o",
        help="Where results go: NAME.json, or a folder as the harness makes it.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print results as JSON."),
) -> None:
    """Measure models side by side: scores with 95 % intervals, and paired tests."""
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    names += [run_file] if run_file else []
    if not names:
        raise typer.BadParameter("name at least one task: --tasks arc_easy,piqa or --run-file FILE")
    if scorer not in (None, "own", "harness"):
        raise typer.BadParameter(f"--scorer is own or harness, not {scorer!r}")
    _check_output(output, len(models))
    options: dict[str, Any] = {
        "num_fewshot": num_fewshot,
        "task_search_path": [str(path) for path in task_search_path] or None,
        "batch_size": _read_batch_size(batch_size),
        "apply_chat_template": chat_template or None,
        "scorer": scorer,
    }
    from evomerge.checkpoints.loading import choose_device
    from evomerge.cli.output import ProgressLine
    from evomerge.evolve.measurement import measure

    with ProgressLine() as progress:
        found = measure(
            models,
            names,
            limit=limit,
            seed=seed,
            options={name: value for name, value in options.items() if value is not None},
            device=choose_device(device),
            progress=progress,
        )
    _report(found, output, as_json=as_json)


def _read_batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"--batch-size is a number of at least 1, or auto, not {text!r}")
    return int(text)


def _check_output(output: Path | None, models: int) -> None:
    if output is None:
        return
    is_file = output.suffix == ".json"
    if is_file and models > 1:
        raise typer.BadParameter(
            f"--output {output} is one file, for one model; {models} models need a folder"
        )
    if output.exists() and output.is_dir() is is_file:
        kind = "folder" if is_file else "file"
        raise typer.BadParameter(f"--output {output} is a {kind}")
    home = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not (home.is_dir() or (is_file and home == output)) or not os.access(home, os.W_OK):
        raise typer.BadParameter(f"--output {output} cannot be written: {home} does not allow it")


def _report(found: "SideBySide", output: Path | None, *, as_json: bool) -> None:
    from evomerge.cli.output import print_json
    from evomerge.cli.standings import print_standings
    from evomerge.evolve.measurement import write_results

    documents = write_results(found)
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        print_standings(found)
    if output:
        for file in _write(documents, output):
            typer.echo(str(file), err=as_json)


def _write(documents: list[dict[str, Any]], output: Path) -> list[Path]:
    from evomerge.cli.output import write_json
    from evomerge.evolve.measurement.results_file import name_file

    files = []
    for document in documents:
        folder = output / document["model_name_sanitized"]
        file = output if output.suffix == ".json" else folder / name_file(document)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(document, file)
        files.append(file)
    return files
