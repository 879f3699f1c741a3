"""The command line of the original EvoMerge: `python -m evomerge.cli --run --model1 A …`."""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evomerge.cli.tournament import choose_techniques, configure, hold
from evomerge.logging_config import configure_logging

if TYPE_CHECKING:
    from evomerge.config import Configuration

logger = logging.getLogger(__name__)
SUITE = "tasks: [{name: suite, evaluator: suite}]\n"
NEW_TOKENS = 100
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog="The verbs of `evomerge` work here, too: python -m evomerge.cli tournament --help"
)
def command(  # noqa: PLR0913, PLR0917 - options of a command line
    context: typer.Context,
    download_and_merge: bool = typer.Option(
        False, "--download-and-merge", help="Download the models, then hold the tournament."
    ),
    run: bool = typer.Option(False, "--run", help="Hold the tournament."),
    model1: str | None = typer.Option(None, help="A folder, zoo:NAME or hub id."),
    model2: str | None = typer.Option(None, help="Another; defaults fill up to three."),
    model3: str | None = typer.Option(None, help="A third."),
    use_cli: bool = typer.Option(
        False, "--use-cli", help="Download with the hub's own command line, hf."
    ),
    verbose: bool = typer.Option(False, "--verbose", help="Log what is going on."),
    config: Path | None = typer.Option(None, help="A Configuration as JSON or YAML."),
    evaluate: str | None = typer.Option(None, help="Measure this model on the built-in suite."),
    generate: str | None = typer.Option(None, help="Let this model continue --prompt."),
    prompt: str | None = typer.Option(None, help="What --generate continues."),
    ps_technique1: str | None = typer.Option(None, help="Stage one: linear or slerp."),
    ps_technique2: str | None = typer.Option(None, help="Stage two: ties, dare, task_arithmetic."),
    dfs_technique: str | None = typer.Option(None, help="Stage three: frankenmerge or dfs."),
    weight_mask_rate: float | None = typer.Option(None, help="Share of task vectors dropped."),
    use_weight_rescale: bool = typer.Option(False, "--use-weight-rescale", help="Rescale them."),
    mask_strategy: str | None = typer.Option(None, help="random or magnitude."),
    use_disk_based_merge: bool = typer.Option(
        False, "--use-disk-based-merge", help="Merges are always streamed."
    ),
    chunk_size: int | None = typer.Option(None, help="Merges are always streamed."),
) -> None:
    """Merge three models in a tournament, evaluate a model, or let it write."""
    configure_logging(verbose=verbose)
    if prompt is not None and generate is None:
        raise typer.BadParameter("--prompt is continued by a model: name it with --generate")
    if generate is not None and prompt is None:
        raise typer.BadParameter("--generate needs a --prompt")
    if not (run or download_and_merge or evaluate or generate):
        typer.echo(context.get_help())
        raise typer.Exit(2)
    if run or download_and_merge:
        merging = {
            **choose_techniques(ps_technique1, ps_technique2, dfs_technique),
            "weight_mask_rate": weight_mask_rate,
            "use_weight_rescale": use_weight_rescale or None,
            "mask_strategy": mask_strategy,
            "use_disk_based_merge": use_disk_based_merge or None,
            "chunk_size": chunk_size,
        }
        named = [model for model in (model1, model2, model3) if model]
        tournament = configure(config, named, merging, {})
        if download_and_merge or use_cli:
            download(tournament, use_cli=use_cli)
        hold(tournament, Path(tournament.merge_settings.custom_dir).expanduser())
    if evaluate:
        measure(evaluate)
    if generate and prompt is not None:
        write(generate, prompt)


def download(config: "Configuration", *, use_cli: bool) -> None:
    """Fetch the models that are not here; with the hub's own command line, if asked to."""
    from evomerge.checkpoints.locate import locate, parse_reference

    for model in config.contestants:
        reference = parse_reference(model.path)
        on_hub = (
            not model.path.startswith("zoo:") and not Path(reference.model).expanduser().exists()
        )
        if use_cli and on_hub:
            fetch(reference.model, reference.revision)
        logger.info("%s is in %s", model.path, locate(reference.base))


def fetch(name: str, revision: str | None = None) -> None:
    """Download a model into the hub's cache with `hf download`.

    Raises:
        CheckpointError: there is no `hf` here, or it failed, with its reason in one line.
    """
    from evomerge.checkpoints.locate import SAFE_FILES
    from evomerge.errors import CheckpointError

    beside = Path(sys.executable).parent
    program = shutil.which("hf", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if program is None:
        raise CheckpointError(
            "--use-cli needs the hub's command line, and there is no `hf` here",
            "pip install huggingface_hub, or leave --use-cli out",
        )
    only = [word for pattern in SAFE_FILES for word in ("--include", pattern)]
    at = ["--revision", revision] if revision else []
    done = subprocess.run(
        [program, "download", name, *at, *only], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise CheckpointError(
            f"`hf download {name}` failed: {_find_reason(done.stderr)}",
            "Check the spelling and the network, or name a folder",
        )


def _find_reason(text: str) -> str:
    """Return the line in which `hf` says what is wrong: the last one that is no hint."""
    plain = COLOURS.sub("", text).splitlines()
    said = [line.strip() for line in plain if line.strip() and not line.startswith("Hint:")]
    return said[-1].removeprefix("Error: ").rstrip(".") if said else "it said nothing"


def measure(model: str) -> None:
    """Measure a model on the built-in suite, and print the scores."""
    from evomerge.cli.output import ProgressLine
    from evomerge.cli.standings import print_standings
    from evomerge.evolve.measurement import measure

    with tempfile.TemporaryDirectory() as folder, ProgressLine() as progress:
        tasks = Path(folder) / "suite.yaml"
        tasks.write_text(SUITE, encoding="utf-8")
        found = measure([model], [str(tasks)], progress=progress)
    print_standings(found)


def write(model: str, prompt: str) -> None:
    """Print how a model continues a prompt."""
    from evomerge.checkpoints.loading import find_device
    from evomerge.checkpoints.locate import locate
    from evomerge.evolve.live import load_folder

    live = load_folder(locate(model), find_device())
    room = int(getattr(live.module.config, "max_position_embeddings", None) or 2 * NEW_TOKENS)
    [text] = live.generate([prompt], max_new_tokens=min(NEW_TOKENS, room // 2))
    typer.echo(prompt + text)
