"""Carry out a recipe into a folder, tensor by tensor, in bounded memory."""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from evomerge.checkpoints.reader import ITEM_BYTES
from evomerge.checkpoints.writer import Shards, atomic_folder, check_target, partition, write_text
from evomerge.engine.card import write_card
from evomerge.engine.compact import MODELING, plan_compact, write_modeling
from evomerge.engine.lora import merge_into_adapter
from evomerge.engine.models import Models
from evomerge.engine.plan import Plan, TensorPlan
from evomerge.engine.planner import Liberties, make_plan
from evomerge.engine.tensor import Workbench, open_result
from evomerge.engine.threads import Threads, count_cores
from evomerge.errors import RecipeError
from evomerge.recipe import Recipe, load_recipe, name_bases, parse_recipe, write_yaml
from evomerge.types import Progress

logger = logging.getLogger(__name__)
SHARD_BYTES = 5_000_000_000


def merge(  # noqa: PLR0913 - what a user may decide about one merge
    recipe: Recipe | str | Path | dict[str, Any],
    out: str | Path,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    replace: bool = False,
    copy_tokenizer_files: bool = True,
    model_card: bool = True,
    allow_nonfinite: bool = False,
    threads: int | None = None,
    device: str = "cpu",
    liberties: Liberties | None = None,
    compact: bool = False,
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
        model_card: whether README.md is written.
        allow_nonfinite: whether NaN and infinity are merged like numbers, not refused.
        threads: how many tensors are merged side by side; all cores if None. Same bits for any.
        device: where blocks are computed: 'cpu' or 'cuda'.
        liberties: what is allowed against good sense; nothing if None.
        compact: whether a path keeps every layer once; loading it then needs
            `trust_remote_code=True`.
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
    if recipe.output == "lora":
        return merge_into_adapter(recipe, Path(out), seed=seed, replace=replace)
    target, models = Path(out), Models()
    check_target(target, replace=replace)
    if compact:
        plan = plan_compact(recipe, models, seed=seed)
    else:
        plan = make_plan(recipe, models, seed=seed, liberties=liberties)
    logger.info("%d tensors by %s, %s", len(plan.tensors), plan.spec.name, plan.dtype)
    for warning in plan.warnings:
        logger.warning("%s", warning)
    size = sum(shape.bytes for shape in plan.shapes)
    pool = Threads(
        threads or count_cores(),
        lambda: Workbench(models, device=device, allow_nonfinite=allow_nonfinite),
    )
    with atomic_folder(target, expected_bytes=size, replace=replace) as folder:
        _write_weights(folder, plan, shard_bytes, pool, progress)
        _write_rest(folder, plan, copy_tokenizer_files)
        if compact:
            write_text(folder / MODELING, write_modeling(plan.config))
        if model_card:
            prints = models.fingerprints(recipe.models)
            write_text(folder / "README.md", write_card(plan, prints, verdict=verdict))
        models.check_unchanged()
    return target


def _write_weights(
    folder: Path,
    plan: Plan,
    shard_bytes: int,
    threads: Threads,
    progress: Progress | None,
) -> None:
    if progress:
        progress.begin("merge", len(plan.tensors))
    with Shards(folder, partition(plan.shapes, shard_bytes)) as shards:

        def work(tensor: TensorPlan, bench: Workbench) -> None:
            result, width = open_result(tensor, bench), ITEM_BYTES[tensor.dtype]
            for start, length in result.extents():
                threads.check()
                out = bench.scratch("out").take("out", length, result.dtype)
                result.fill(start, out)
                shards.write(tensor.name, start * width, out.view(torch.uint8).numpy().data)

        for _ in threads.run(plan.tensors, work):
            if progress:
                progress.advance()
    if progress:
        progress.end()


def _write_rest(folder: Path, plan: Plan, with_tokenizer: bool) -> None:
    write_text(folder / "config.json", json.dumps(plan.config, indent=2, sort_keys=True) + "\n")
    if with_tokenizer:
        plan.tokenizer.write(folder)
    document = name_bases(plan.recipe).to_document()  # as mergekit wants it
    write_text(folder / "mergekit_config.yml", write_yaml(document))


__all__ = ["RecipeError", "merge"]
