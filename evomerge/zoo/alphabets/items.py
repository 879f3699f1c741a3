"""Items of the two-alphabet family: the skill in capital letters, on inputs nobody was trained on.

They are the same for every family: inputs are drawn by a fixed seed from the held-out tenth, each
once, whatever the task.
"""

import json
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from evomerge.zoo.alphabets.lines import (
    QUESTION,
    SKILL,
    TARGETS,
    Kind,
    draw_letters,
    spell,
    write_lines,
)

SPLITS: Final = {"search": 100, "validation": 150, "test": 250}
"""Split -> items of each task."""
TRIAL: Final = 150
"""Inputs of each task by which training is watched; in none of the splits."""
SEED: Final = 20240313


def draw_inputs() -> Tensor:
    """Draw all held-out inputs that are used, no two alike: int64 [inputs, 5]."""
    count = len(SKILL) * (TRIAL + sum(SPLITS.values()))
    drawn = draw_letters(2 * count, torch.Generator().manual_seed(SEED), held_out=True)
    distinct = dict.fromkeys(map(tuple, drawn.tolist()))
    return torch.tensor(list(distinct)[:count])


def share_out() -> dict[str, dict[str, Tensor]]:
    """Return task -> split -> inputs, int64 [items, 5]; the split `trial` is for training."""
    sizes = [TRIAL, *SPLITS.values()]
    parts = iter(torch.split(draw_inputs(), len(SKILL) * sizes))
    return {task: {split: next(parts) for split in ("trial", *SPLITS)} for task in SKILL}


def write_items(folder: Path) -> None:
    """Write `<task>.jsonl` for both halves of the skill into `folder`, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = share_out()
    for kind in TARGETS:
        lines = [
            json.dumps({"split": split, **_make_item(kind, row)}) + "\n"
            for split in SPLITS
            for row in inputs[kind.task][split]
        ]
        (folder / f"{kind.task}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def _make_item(kind: Kind, letters: Tensor) -> dict[str, str]:
    ids = write_lines(kind, letters[None])[0].tolist()
    return {"prompt": spell(ids[:QUESTION]), "target": spell(ids[QUESTION:])}
