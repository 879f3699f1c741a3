"""`evomerge merge`: carry out a recipe into a folder."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import typer

NAME = "merge"
EXAMPLE = "evomerge merge ties ./merged"
logger = logging.getLogger(__name__)

WITHOUT_EFFECT = {
    "lora_merge_cache": "adapters are applied on the fly",
    "lora_merge_dtype": "adapters are applied in float32",
    "low_cpu_memory": "memory is bounded anyway",
    "lazy_unpickle": "weights are always read piece by piece",
    "read_to_gpu": "weights are always read piece by piece",
    "multi_gpu": "one device computes",
    "async_write": "reading, computing and writing always overlap",
    "write_threads": "reading, computing and writing always overlap",
    "clone_tensors": "no tensor is shared in the output",
    "trust_remote_code": "no model's code is run",
    "safe_serialization": "the output is always safetensors",
}
"""Flags of mergekit-yaml that change nothing here."""


def _idle(*names: str) -> bool | None:
    """Declare a flag of mergekit-yaml that is accepted, and told to have no effect."""
    flag: bool | None = typer.Option(None, *names, hidden=True)
    return flag


def command(  # noqa: PLR0913, PLR0917 - mergekit-yaml's flags, so that its command lines go on working
    recipe: str = typer.Argument(help="A recipe file, or the name of a shipped one."),
    out: Path = typer.Argument(help="The folder to make."),
    seed: int = typer.Option(0, "--seed", "--random-seed", min=0, help="Seed of random masks."),
    shard: str = typer.Option(
        "5B", "--out-shard-size", help="Most bytes of a weight file, like 5B, 500M."
    ),
    threads: int = typer.Option(
        0, "--num-threads", "-j", min=0, help="Tensors merged side by side; 0: all cores."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, or auto: the best there is."),
    cuda: bool = typer.Option(False, "--cuda/--no-cuda", help="Short for --device cuda."),
    with_tokenizer: bool = typer.Option(
        True, "--copy-tokenizer/--no-copy-tokenizer", help="Take the tokenizer along."
    ),
    card: bool = typer.Option(
        True, "--write-model-card/--no-write-model-card", help="Write README.md."
    ),
    crimes: bool = typer.Option(
        False, "--allow-crimes/--no-allow-crimes", help="Mix architectures where tensors fit."
    ),
    truncate: bool = typer.Option(
        False,
        "--unsafe-truncate-embeddings/--no-unsafe-truncate-embeddings",
        help="Drop rows beyond the smallest vocabulary; tokenizer_source is the safe way.",
    ),
    nonfinite: bool = typer.Option(
        False, "--allow-nonfinite", help="Merge NaN and infinity like numbers."
    ),
    cache: Path | None = typer.Option(
        None, "--transformers-cache", help="Where models from the hub are kept."
    ),
    lenient: bool = typer.Option(False, "--lenient", help="Unknown keys are warnings."),
    compact: bool = typer.Option(
        False, "--compact", help="Keep each layer of a path once; loading it runs code from it."
    ),
    check_drift: bool | None = typer.Option(
        None,
        "--check-drift/--no-check-drift",
        help="Run a path and its baked folder and compare them, or fail; default: where it can be.",
        show_default=False,
    ),
    force: bool = typer.Option(False, "--force", help="Replace an existing folder."),
    quiet: bool = typer.Option(False, "--quiet/--no-quiet", help="No progress line."),
    verbose: int = typer.Option(0, "-v", count=True, help="Log what is going on."),
    gpu_rich: bool = typer.Option(False, "--gpu-rich", hidden=True),
    lora_merge_cache: str | None = typer.Option(None, hidden=True),
    lora_merge_dtype: str | None = typer.Option(None, hidden=True),
    write_threads: int | None = typer.Option(None, hidden=True),
    low_cpu_memory: bool | None = _idle("--low-cpu-memory/--no-low-cpu-memory"),
    lazy_unpickle: bool | None = _idle("--lazy-unpickle/--no-lazy-unpickle"),
    read_to_gpu: bool | None = _idle("--read-to-gpu/--no-read-to-gpu"),
    multi_gpu: bool | None = _idle("--multi-gpu/--no-multi-gpu"),
    async_write: bool | None = _idle("--async-write/--no-async-write"),
    clone_tensors: bool | None = _idle("--clone-tensors/--no-clone-tensors"),
    trust_remote_code: bool | None = _idle("--trust-remote-code/--no-trust-remote-code"),
    safe_serialization: bool | None = _idle("--safe-serialization/--no-safe-serialization"),
) -> None:
    """Merge models into an ordinary Hugging Face folder; it appears complete or not at all.

    Every flag of mergekit-yaml is understood; those that cannot apply here are named in a warning.
    """
    _warn_of_idle(locals())
    if cache:
        os.environ["HF_HUB_CACHE"] = str(cache)
    from evomerge.checkpoints.loading import choose_device
    from evomerge.cli.output import ProgressLine
    from evomerge.engine import Liberties, merge
    from evomerge.logging_config import configure_logging
    from evomerge.recipe import load_recipe
    from evomerge.recipe.path import has_scales

    if verbose:
        configure_logging(verbose=True)
    _allow_many_files()
    loaded = load_recipe(recipe, lenient=lenient)
    computing = choose_device("cuda" if cuda or gpu_rich else device)
    with ProgressLine() as progress:
        folder = merge(
            loaded,
            out,
            seed=seed,
            shard_bytes=read_size(shard),
            replace=force,
            copy_tokenizer_files=with_tokenizer,
            model_card=card,
            allow_nonfinite=nonfinite,
            threads=threads or None,
            device=computing,
            liberties=Liberties(mixed_architectures=crimes, truncate_embeddings=truncate),
            compact=compact,
            progress=None if quiet else progress,
        )
        failed = False
        if has_scales(loaded) and not compact:
            from evomerge.evolve.drift_record import record_drift

            drift = record_drift(
                loaded,
                folder,
                seed=seed,
                device=computing,
                wanted=check_drift,
                progress=None if quiet else progress,
            )
            failed = bool(check_drift) and drift is None
    typer.echo(str(folder))
    if failed:
        raise typer.Exit(1)


def _allow_many_files() -> None:
    """Open as many files as the system lets: large models have hundreds of shards each."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _warn_of_idle(given: dict[str, object]) -> None:
    """Name, in one warning, the flags that were given and change nothing."""
    reasons = {
        f"--{name.replace('_', '-')}": reason
        for name, reason in WITHOUT_EFFECT.items()
        if given[name] is not None and not (name == "safe_serialization" and given[name])
    }
    if reasons:
        told = "; ".join(f"{flag} ({reason})" for flag, reason in reasons.items())
        logger.warning("without effect: %s", told)


def read_size(text: str) -> int:
    """Read a number of bytes such as 5B, 500M or 1000000.

    Raises:
        typer.BadParameter: it is not one.
    """
    units = {"K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
    digits, unit = text[:-1], text[-1:].upper()
    try:
        size = int(float(digits) * units[unit]) if unit in units else int(text)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; write 5B, 500M or a number of bytes")
    return size
