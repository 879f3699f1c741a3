"""The drift of a baked path, written down: in its folder's card, in drift.json, as a warning."""

import json
import logging
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from evomerge.checkpoints.reader import Checkpoint
from evomerge.checkpoints.writer import show_bytes, write_text
from evomerge.engine import Models, Plan
from evomerge.engine.card import BAKED
from evomerge.errors import EvoMergeException, describe
from evomerge.evolve.drift import Drift, measure_drift, plan_models
from evomerge.recipe import Recipe
from evomerge.types import Progress

logger = logging.getLogger(__name__)

FILE, CARD = "drift.json", "README.md"
WIDTH = 4
"""Bytes of a parameter while drift is measured."""


def record_drift(
    recipe: Recipe,
    folder: Path,
    *,
    texts: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    wanted: bool | None = None,
    room: int | None = None,
    progress: Progress | None = None,
) -> Drift | None:
    """Measure the drift of a baked path; tell it in the folder's card and in drift.json.

    What goes wrong is told, not raised: the folder is there already.

    Args:
        recipe: a path with scales.
        folder: where it was merged.
        texts: prompts; tokens drawn by `seed` if there are none.
        seed: of these tokens, and of random masks in merges on the path.
        device: where path and folder are run.
        wanted: whether to measure; None: where memory allows.
        room: bytes of memory that may be used; half of what is free if None.
        progress: told of the beginning and the end.

    Returns:
        The drift; None where it was not measured.
    """
    found: Drift | str = "nobody asked"
    if wanted is not False:
        limit = None if wanted else find_room(device) if room is None else room
        if progress:
            progress.begin("drift", 1)
        found = _measure(recipe, folder, texts, seed, device, limit)
        if progress:
            progress.advance()
            progress.end()
        _warn(found, folder)
    if isinstance(found, str):
        _tell(folder, f"How far it is from the path was not measured: {found}.")
        return None
    write_text(folder / FILE, json.dumps(found.to_values(), indent=2) + "\n")
    _tell(folder, found.sentence)
    return found


def find_room(device: str) -> int | None:
    """Return half of a device's free memory, in bytes; None where nobody knows."""
    if device.startswith("cuda"):
        free: int = torch.cuda.mem_get_info(device)[0]
        return free // 2
    known: list[int] = []
    with suppress(OSError, ValueError, LookupError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        table = dict(line.split(":", 1) for line in lines)
        known.append(int(table["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # a container's limit, or the word max
        known.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    with suppress(OSError, ValueError, AttributeError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(known) // 2 if known else None


def _measure(
    recipe: Recipe, folder: Path, texts: Sequence[str], seed: int, device: str, limit: int | None
) -> Drift | str:
    """Return the drift, or why there is none."""
    models = Models()
    try:
        need = _count_bytes(plan_models(recipe, models, seed=seed).values(), folder)
        if limit is not None and need > limit:
            return f"that takes {show_bytes(need)} of memory (--check-drift does it all the same)"
        return measure_drift(recipe, folder, texts=texts, seed=seed, device=device, models=models)
    except EvoMergeException as error:
        return str(error).splitlines()[0].rstrip(".")
    except Exception as error:  # memory ends somewhere, and architectures fail each in its own way
        return describe(error)


def _count_bytes(plans: Iterable[Plan], folder: Path) -> int:
    """Return what the larger of the two takes: the path's models, or the folder."""
    live = sum(math.prod(tensor.shape) for plan in plans for tensor in plan.tensors)
    baked = sum(entry.numel for entry in Checkpoint(str(folder)).entries.values())
    return WIDTH * max(live, baked)


def _warn(found: Drift | str, folder: Path) -> None:
    if isinstance(found, str):
        logger.warning("how far %s is from its path was not measured: %s", folder, found)
    elif not found.small:
        logger.warning(
            "baked scales change the logits by up to %.1e (the likeliest token stays the same %d "
            "of %d times): the norms' epsilon, or rounding; `evomerge merge --compact` is exact",
            *(found.largest, found.same, found.tokens),
        )


def _tell(folder: Path, told: str) -> None:
    card = folder / CARD
    if card.exists():
        text = card.read_text(encoding="utf-8")
        write_text(card, text.replace(BAKED, f"{BAKED}\n\n{told}", 1))
