"""What an adapter folder holds: settings, factors by module, tensors that replace the model's.

This is peft's format (https://huggingface.co/docs/peft/developer_guides/checkpoint), read without
peft. What cannot be folded into weights is refused here, in one line.
"""

import logging
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evomerge.adapters.tensors import DTYPES
from evomerge.checkpoints.reader import Entry, check_place, read_header, read_json
from evomerge.errors import CheckpointError

logger = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
PREFIX = "base_model.model."
"""What peft puts before every name of the model it wraps."""
FACTOR = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<role>A|B|magnitude_vector)"
    r"(?:\.default)?(?:\.(?P<leaf>weight|bias))?"
)
REPLACED = re.compile(r"\.(?:base_layer|modules_to_save(?:\.default)?)(?=\.)")
NOT_WEIGHTS = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication",
    "megatron_config", "monteclora_config", "target_parameters", "trainable_token_indices",
    "use_bdlora", "use_qalora", "velora_config",
)  # fmt: skip
"""Settings under which an adapter is more than a change of rank r to matrices of the model."""
CHANGES_BASE = ("corda", "loftq", "lora_ga", "mica", "olora", "pissa")
"""Initializations that move a part of the model's weights into the adapter."""


@dataclass(slots=True)
class Module:
    """One module's factors.

    A has shape (rank, inputs) and B (outputs, rank); an embedding's inputs are its tokens.

    Attributes:
        name: as in the model.
        embedding: whether the module is an embedding.
        entries: 'A', 'B', and where there are such 'magnitude_vector' (DoRA) and 'bias'.
    """

    name: str
    embedding: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Rank of the change."""
        return self.entries["A"].shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.entries["B"].shape[0], self.entries["A"].shape[1]


@dataclass(frozen=True, slots=True)
class Contents:
    """An adapter folder, its headers read.

    Attributes:
        config: adapter_config.json.
        modules: by name.
        replacements: tensor name -> entry that replaces the model's tensor.
    """

    config: dict[str, Any]
    modules: dict[str, Module]
    replacements: dict[str, Entry]


def read_contents(folder: Path, reference: str) -> Contents:
    """Read and check the headers of an adapter folder.

    Raises:
        CheckpointError: a file is missing or damaged, or the adapter is of a kind that cannot be
            folded into weights.
    """
    config = read_json(folder / CONFIG, reference)
    _check_config(config, reference)
    contents = Contents(config, {}, {})
    for entry in sorted(_read_entries(folder, reference), key=lambda e: e.name):
        if entry.dtype not in DTYPES:
            raise CheckpointError(
                f"{reference}: tensor {entry.name} has dtype {entry.dtype}",
                f"Adapters are read in {', '.join(DTYPES)}",
            )
        _sort(entry, contents, reference)
    for module in contents.modules.values():
        _check_module(module, config, reference)
    if not contents.modules and not contents.replacements:
        raise CheckpointError(f"{reference} holds no tensors", "Is this a trained adapter?")
    _drop_idle_biases(contents, reference)
    return contents


def _check_config(config: dict[str, Any], reference: str) -> None:
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        raise CheckpointError(
            f"{reference} is an adapter of type {kind}",
            "Only LORA (with rsLoRA and DoRA) is supported; merge it into its base with peft first",
        )
    if odd := [key for key in NOT_WEIGHTS if config.get(key)]:
        raise CheckpointError(
            f"{reference} has the setting {odd[0]}, which is not supported",
            "Merge it into its base with peft first",
        )
    if problem := _odd_scale(config):
        raise CheckpointError(f"{reference}: {CONFIG} says {problem}", "Fetch the adapter again")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        raise CheckpointError(
            f"{reference} was started by {start}, which changes the base model's weights too",
            "Save it anew with peft's path_initial_model_for_weight_conversion",
        )


def _odd_scale(config: dict[str, Any]) -> str:
    """Return what is wrong with the settings that scale a change; empty if nothing is."""
    alpha, patterns = config.get("lora_alpha", 8), config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        return f"alpha_pattern: {patterns!r}"
    for pattern, value in {"lora_alpha": alpha, **patterns}.items():
        if not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            return f"{pattern}: {value!r}, which is no number"
        try:
            re.compile(pattern)
        except re.error:
            return f"alpha_pattern: {pattern!r}, which is no regular expression"
    return ""


def _read_entries(folder: Path, reference: str) -> list[Entry]:
    if (folder / WEIGHTS).is_file():
        check_place(folder, folder / WEIGHTS)
        return read_header(folder / WEIGHTS)
    if (folder / PICKLE).is_file():
        raise CheckpointError(
            f"{reference} holds only the pickle {PICKLE}",
            f"Convert it to {WEIGHTS}: load it with peft and save it again",
        )
    raise CheckpointError(f"{reference} has no {WEIGHTS}", f"Is {folder} a complete adapter?")


def _sort(entry: Entry, contents: Contents, reference: str) -> None:
    """Put a tensor where it belongs: to a module's factors, or among the replacements."""
    name = entry.name.removeprefix(PREFIX)
    if not (found := FACTOR.fullmatch(name)):
        if "lora_" in name or "token_adapter" in name:
            raise CheckpointError(
                f"{reference}: tensor {entry.name} is of no known kind",
                "Merge the adapter into its base with peft first",
            )
        contents.replacements[REPLACED.sub("", name)] = entry
        return
    module = contents.modules.setdefault(found["module"], Module(found["module"]))
    module.embedding |= bool(found["embedding"])
    module.entries["bias" if found["leaf"] == "bias" else found["role"]] = entry


def _check_module(module: Module, config: dict[str, Any], reference: str) -> None:
    entries = module.entries
    if missing := [role for role in "AB" if role not in entries]:
        raise CheckpointError(
            f"{reference}: {module.name} has no lora_{missing[0]}", "Fetch the adapter again"
        )
    a, b = entries["A"].shape, entries["B"].shape
    if len(a) > 2 or len(b) > 2:
        raise CheckpointError(
            f"{reference} adapts the convolution {module.name}, which is not supported",
            "Merge it into its base with peft first",
        )
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or 0 in (*a, *b):
        raise CheckpointError(
            f"{reference}: {module.name} has factors A {list(a)} and B {list(b)}, "
            "which do not multiply",
            "Fetch the adapter again",
        )
    if bool(config.get("use_dora")) != ("magnitude_vector" in entries):
        raise CheckpointError(
            f"{reference}: use_dora is {bool(config.get('use_dora'))}, but {module.name} has "
            f"{'a' if 'magnitude_vector' in entries else 'no'} lora_magnitude_vector",
            "Fetch the adapter again",
        )
    for role in ("magnitude_vector", "bias"):
        if role in entries and entries[role].numel != b[0]:
            raise CheckpointError(
                f"{reference}: {entries[role].name} has {entries[role].numel} elements for "
                f"{b[0]} outputs",
                "Fetch the adapter again",
            )


def _drop_idle_biases(contents: Contents, reference: str) -> None:
    """Leave out what lora_B.bias holds where lora_bias is not set, as peft does."""
    if contents.config.get("lora_bias"):
        return
    idle = [m for m in contents.modules.values() if m.entries.pop("bias", None)]
    if idle:
        logger.warning(
            "%s: lora_bias is not set, so %d biases in its file are ignored", reference, len(idle)
        )
