"""From a model's name to a folder on this machine: a folder, `zoo:name`, or a hub id.

A reference may add a revision and an adapter: `model@revision+adapter@revision`. A folder whose
own name holds '@' or '+' is found under that name first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from evomerge.errors import CheckpointError
from evomerge.registry import suggest

ZOO = "zoo:"
LONGEST = 2000
"""Characters of a reference; more are a mistake, and every '+' in them would be looked at."""
SAFE_FILES = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, and the adapter that is to be applied to it.

    Attributes:
        model: a folder, `zoo:NAME`, or `owner/name`.
        revision: of a hub model: branch, tag or commit; None for its main branch.
        adapter: a folder or `owner/name`; None without an adapter.
        adapter_revision: of a hub adapter.
    """

    model: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None

    def __str__(self) -> str:
        return f"{self.base}+{self.lora}" if self.lora else self.base

    @property
    def base(self) -> str:
        """The model without its adapter, as `locate` understands it."""
        return _join(self.model, self.revision)

    @property
    def lora(self) -> str | None:
        """The adapter, as `locate_adapter` understands it; None without one."""
        return _join(self.adapter, self.adapter_revision) if self.adapter else None


def parse_reference(text: str) -> Reference:
    """Split `model@revision+adapter@revision`; every part but the model may be missing.

    Where '+' or '@' can be read in several ways, the reading whose folders exist is taken, then
    the leftmost.

    Raises:
        CheckpointError: a part is empty.
    """
    if len(text) > LONGEST:
        raise CheckpointError(
            f"{text[:40]!r}… is no model: it has {len(text)} characters", f"At most {LONGEST}"
        )
    if _is_folder(text):
        return Reference(text)
    readings = _splits(text, "+")
    if not readings:
        return Reference(*_split_revision(text, text))
    model, adapter = max(readings, key=_folders)
    return Reference(*_split_revision(model, text), *_split_revision(adapter, text))


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
    _refuse_revision_of_folder(reference)
    if _looks_like_hub_id(reference):
        return _download(reference, SAFE_FILES)
    raise CheckpointError(
        f"there is no model folder {reference}",
        "Give a folder, zoo:NAME (see `evomerge ls models`), or a hub id owner/name",
    )


def locate_adapter(reference: str) -> Path:
    """Find the folder of an adapter.

    Args:
        reference: a folder, or `owner/name[@revision]` on the hub (as for `locate`).

    Raises:
        CheckpointError: when there is no such adapter, saying where it was looked for.
    """
    folder = _on_this_machine(reference)
    if folder and folder.is_dir():
        return folder
    if folder:
        raise CheckpointError(
            f"{reference} is a file, not an adapter folder",
            "Name the folder that holds adapter_config.json",
        )
    _refuse_revision_of_folder(reference)
    if _looks_like_hub_id(reference):
        return _download(reference, ADAPTER_FILES)
    raise CheckpointError(
        f"there is no adapter folder {reference}", "Give a folder, or a hub id owner/name"
    )


def display_name(reference: str) -> str:
    """Return what people call a model: a local folder by its last name, others as they are."""
    path = Path(reference.removeprefix("model:")).expanduser()  # as tokenizer_source may say
    return path.resolve().name if path.is_absolute() or path.is_dir() else reference


def tell_apart(names: Sequence[str], references: Sequence[str]) -> list[str]:
    """Return names; references for those that several of them share."""
    return [
        reference if names.count(name) > 1 else name
        for name, reference in zip(names, references, strict=True)
    ]


def _join(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _is_folder(name: str) -> bool:
    folder = _on_this_machine(name)
    return folder is not None and folder.is_dir()


def _splits(text: str, sign: str) -> list[tuple[str, str]]:
    return [(text[:at], text[at + 1 :]) for at, found in enumerate(text) if found == sign]


def _folders(reading: tuple[str, str]) -> int:
    """Count the parts of a reading that are folders here, revisions left aside."""
    return sum(
        _is_folder(part) or any(_is_folder(name) for name, _ in _splits(part, "@"))
        for part in reading
    )


def _split_revision(part: str, text: str) -> tuple[str, str | None]:
    readings = [] if _is_folder(part) else _splits(part, "@")
    name, revision = max(readings, key=lambda r: _is_folder(r[0]), default=(part, None))
    if not name or revision == "":
        raise _incomplete(text)
    return name, revision


def _incomplete(text: str) -> CheckpointError:
    return CheckpointError(
        f"{text!r} is not a model", "Write model, model@revision, model+adapter or both"
    )


def _refuse_revision_of_folder(reference: str) -> None:
    for name, revision in _splits(reference, "@"):
        if _is_folder(name):
            raise CheckpointError(
                f"{name} is a folder here, it has no revision {revision!r}",
                "Leave the revision out, or name a model of the hub",
            )


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


def _download(reference: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen unrelated kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        raise CheckpointError(
            f"{reference} is neither a folder here nor to be had from the hub ({reason})",
            f"Check the spelling, or fetch it first: {command}",
        ) from None
