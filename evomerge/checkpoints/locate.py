"""From a model's name to a folder on this machine: a folder, `zoo:name`, or a hub id."""

from importlib.resources import files
from pathlib import Path

from evomerge.errors import CheckpointError
from evomerge.registry import suggest

ZOO = "zoo:"
SAFE_FILES = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


def zoo_models() -> dict[str, Path]:
    """Return the embedded models by name."""
    folder = Path(str(files("evomerge"))) / "zoo" / "models"
    return {path.name: path for path in sorted(folder.glob("*")) if path.is_dir()}


def locate(reference: str) -> Path:
    """Find the folder of a model.

    Args:
        reference: a folder, `zoo:NAME` for an embedded model, or `owner/name[@revision]` on the
            Hugging Face hub (its cache is used, HF_HUB_OFFLINE is honoured).

    Raises:
        CheckpointError: when there is no such model, saying where it was looked for.
    """
    if reference.startswith(ZOO):
        return _locate_in_zoo(reference.removeprefix(ZOO))
    folder = _on_this_machine(reference)
    if folder and folder.is_dir():
        return folder
    if folder:
        raise CheckpointError(
            f"{reference} is a file, not a model folder", "Name the folder that holds config.json"
        )
    if _looks_like_hub_id(reference):
        return _download(reference)
    raise CheckpointError(
        f"there is no model folder {reference}",
        "Give a folder, zoo:NAME (see `evomerge ls models`), or a hub id owner/name",
    )


def display_name(reference: str) -> str:
    """Return what people call a model: a local folder by its last name, others as they are."""
    path = Path(reference.removeprefix("model:")).expanduser()  # as tokenizer_source may say
    return path.resolve().name if path.is_absolute() or path.is_dir() else reference


def _on_this_machine(reference: str) -> Path | None:
    try:
        folder = Path(reference).expanduser()
        return folder if reference and folder.exists() else None
    except (OSError, RuntimeError):  # a name too long for a file, or a stranger's ~home
        return None


def _locate_in_zoo(name: str) -> Path:
    models = zoo_models()
    if name not in models:
        raise CheckpointError(
            f"the zoo has no model {name!r}{suggest(name, list(models))}",
            f"It has {', '.join(models)}",
        )
    return models[name]


def _looks_like_hub_id(reference: str) -> bool:
    parts = reference.split("@", maxsplit=1)[0].split("/")
    return len(parts) == 2 and all(parts) and parts[0][0] not in ".~"


def _download(reference: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=SAFE_FILES))
    except Exception as error:  # the hub client raises a dozen unrelated kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{reference} is neither a folder here nor to be had from the hub ({reason})",
            f"Check the spelling, or fetch it first: hf download {name}",
        ) from None
