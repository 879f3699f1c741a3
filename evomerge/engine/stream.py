"""Carry out a recipe into a folder, tensor by tensor, in bounded memory."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.checkpoints.reader import ITEM_BYTES
from evomerge.checkpoints.tokenizer import copy_tokenizer
from evomerge.checkpoints.writer import (
    atomic_folder,
    check_target,
    partition,
    write_shards,
    write_text,
)
from evomerge.engine.card import write_card
from evomerge.engine.models import Models
from evomerge.engine.plan import NAMES, Plan, TensorPlan
from evomerge.engine.planner import make_plan
from evomerge.engine.tensor import Workbench, merge_tensor
from evomerge.errors import RecipeError
from evomerge.recipe import Recipe, load_recipe, parse_recipe, write_yaml
from evomerge.tensor_ops.blocks import BLOCK
from evomerge.types import Progress

logger = logging.getLogger(__name__)
SHARD_BYTES = 5_000_000_000
Write = Callable[[int, memoryview], None]


def merge(
    recipe: Recipe | str | Path | dict[str, Any],
    out: str | Path,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    replace: bool = False,
    copy_tokenizer_files: bool = True,
    verdict: str = "",
    progress: Progress | None = None,
) -> Path:
    """Merge models into a folder that transformers loads.

    Args:
        recipe: a Recipe, a YAML file, the name of a shipped recipe, or its document as a dict.
        out: the folder to make; it appears complete or not at all.
        seed: of random masks (DARE).
        shard_bytes: most bytes of a weight file.
        replace: whether an existing folder is replaced.
        copy_tokenizer_files: whether the tokenizer goes along.
        verdict: Markdown for the model card about how good the result is.
        progress: told of every finished tensor.

    Returns:
        The folder.

    Raises:
        RecipeError: the recipe cannot work; every problem is listed.
        CheckpointError: a model is missing, damaged, or not of numbers.
        OutputError: the folder cannot be written.
    """
    if isinstance(recipe, dict):
        recipe, _ = parse_recipe(recipe)
    elif not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    target, models = Path(out), Models()
    check_target(target, replace=replace)
    plan = make_plan(recipe, models, seed=seed)
    for warning in plan.warnings:
        logger.warning("%s", warning)
    size = sum(shape.bytes for shape in plan.shapes)
    with atomic_folder(target, expected_bytes=size, replace=replace) as folder:
        _write_weights(folder, plan, models, shard_bytes, progress)
        _write_rest(folder, plan, models, copy_tokenizer_files, verdict)
    return target


def _write_weights(
    folder: Path, plan: Plan, models: Models, shard_bytes: int, progress: Progress | None
) -> None:
    bench, tensors = Workbench(), {tensor.name: tensor for tensor in plan.tensors}
    rounding = _Rounding()
    if progress:
        progress.begin("merge", len(plan.tensors))

    def fill(name: str, write: Write) -> None:
        tensor = tensors[name]
        if tensor.copied:
            _copy(tensor, models, bench, write)
        else:
            merge_tensor(tensor, plan, models, bench, rounding.sink(tensor.dtype, write))
        if progress:
            progress.advance()

    write_shards(folder, partition(plan.shapes, shard_bytes), fill)
    if progress:
        progress.end()


class _Rounding:
    """Rounds float32 blocks to the result's dtype, once, in a buffer that is reused."""

    def __init__(self) -> None:
        self._buffers: dict[str, tuple[Tensor, memoryview]] = {}

    def sink(self, dtype: str, write: Write) -> Callable[[int, Tensor], None]:
        """Return a sink that rounds blocks to `dtype` and writes their bytes."""
        if dtype not in self._buffers:
            rounded = torch.empty(BLOCK, dtype=getattr(torch, NAMES[dtype]))
            self._buffers[dtype] = rounded, rounded.view(torch.uint8).numpy().data
        buffer, raw = self._buffers[dtype]
        width = ITEM_BYTES[dtype]

        def write_block(start: int, block: Tensor) -> None:
            buffer[: len(block)].copy_(block)
            write(start * width, raw[: len(block) * width])

        return write_block


def _copy(tensor: TensorPlan, models: Models, bench: Workbench, write: Write) -> None:
    entry = (tensor.base or tensor.inputs[0]).entry
    checkpoint = models[(tensor.base or tensor.inputs[0]).model]
    size, step = entry.end - entry.start, len(bench.bytes)
    for start in range(0, size, step):
        piece = bench.bytes[: min(step, size - start)]
        checkpoint.read_into(entry, start, piece)
        write(start, piece)


def _write_rest(
    folder: Path, plan: Plan, models: Models, with_tokenizer: bool, verdict: str
) -> None:
    write_text(folder / "config.json", json.dumps(plan.config, indent=2, sort_keys=True) + "\n")
    if with_tokenizer:
        copy_tokenizer(plan.tokenizer, folder)
    _write_chat_template(folder, plan.recipe.chat_template)
    write_text(folder / "mergekit_config.yml", write_yaml(plan.recipe.to_document()))
    prints = models.fingerprints(plan.recipe.models)
    write_text(folder / "README.md", write_card(plan, prints, verdict=verdict))


def _write_chat_template(folder: Path, template: str | None) -> None:
    if template and "{" in template:
        write_text(folder / "chat_template.jinja", template)
    elif template and template != "auto":
        logger.warning("chat_template: %r is not a Jinja template; the base's is kept", template)


__all__ = ["RecipeError", "merge"]
