"""Carry out a recipe in adapter space: several LoRAs become one, no model is written.

Each adapted module's change is formed by itself, merged by the recipe's method as task vectors
are, and cut to a rank; a weighted sum without a rank is kept exactly, by its factors.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.draft import Draft
from evomerge.adapters.merging import merge_adapters
from evomerge.checkpoints.architecture import Layout, read_layout
from evomerge.checkpoints.locate import parse_reference
from evomerge.checkpoints.writer import atomic_folder, write_text
from evomerge.engine.models import Models
from evomerge.engine.parameters import settle
from evomerge.errors import CheckpointError
from evomerge.methods import METHODS, MethodSpec, merge_tensors
from evomerge.recipe import Recipe, write_yaml
from evomerge.recipe.check import inputs_of, lookup
from evomerge.recipe.model import Module, Source

logger = logging.getLogger(__name__)

NOTICEABLE = 1e-4
"""Share of a change whose loss is told; below it is rounding."""


def merge_into_adapter(recipe: Recipe, out: Path, *, seed: int = 0, replace: bool = False) -> Path:
    """Merge adapters into one adapter folder that peft loads; it appears complete or not at all.

    Args:
        recipe: with `output: lora`; its models are `model+adapter`, or adapter folders.
        out: the folder to make.
        seed: of random masks.
        replace: whether an existing folder is replaced.

    Raises:
        CheckpointError: an adapter is missing, damaged, or cannot be merged.
        OutputError: the folder cannot be written.
    """
    draft = AdapterMerge(recipe, Models(), seed).draft()
    if draft.error > NOTICEABLE:
        lost = f"{draft.error:.1%} of the merged change (by norm) is lost to the adapter's rank"
        logger.warning("%s; a higher lora_rank keeps more", lost)
    with atomic_folder(out, expected_bytes=draft.bytes, replace=replace) as folder:
        draft.write(folder)
        write_text(folder / "mergekit_config.yml", write_yaml(recipe.to_document()))
        write_text(folder / "README.md", _write_card(recipe, draft))
    return out


class AdapterMerge:
    """A recipe, its adapters, and the layers their modules belong to.

    Args:
        recipe: with `output: lora`, whose models are listed.
        models: the open models and adapters.
        seed: of random masks.

    Raises:
        CheckpointError: an adapter is missing or damaged.
    """

    def __init__(self, recipe: Recipe, models: Models, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        self.spec: MethodSpec = METHODS.get(recipe.method)
        self.part = recipe.slices[0]
        self.sources, base = inputs_of(recipe, self.part, self.spec)
        self.adapters = [_open(source, models) for source in self.sources]
        self.base = models[base] if isinstance(base, str) else None
        names = {f"{name}.weight" for adapter in self.adapters for name in adapter.modules}
        self.layout: Layout = read_layout({}, names)

    def draft(self) -> Draft:
        """Return the merged adapter."""
        weights = self._weights()
        return merge_adapters(
            self.adapters,
            weights=weights,
            merge=None if weights else self._merge,
            rank=self.recipe.lora_rank,
            base=self._read_base if self.base else None,
        )

    def _weights(self) -> list[float] | None:
        """Return one weight per adapter where the merge is a plain sum with the same everywhere."""
        if self.spec.name not in ("linear", "task_arithmetic"):
            return None
        rules = [
            rule
            for source in self.sources
            for schedule in lookup(self.recipe, self.part, source, "weight")
            for rule in schedule.rules
        ]
        if any(rule.filter or len(rule.values) > 1 for rule in rules):
            return None
        values = self._values("")
        weights = [float(weight) for weight in values["weight"]]
        divisor = (sum(weights) or 1.0) if values["normalize"] else 1.0
        return [weight * values.get("lambda", 1.0) / divisor for weight in weights]

    def _merge(self, name: str, deltas: list[Tensor]) -> Tensor:
        base = torch.zeros_like(deltas[0]) if self.spec.base == "required" else None
        return merge_tensors(
            self.spec,
            deltas,
            base,
            seed=self.seed,
            name=name,
            keys=[adapter.fingerprint for adapter in self.adapters],
            **self._values(name),
        )

    def _values(self, name: str) -> dict[str, Any]:
        place = self.layout.locate(name)
        depth = place[0] / max(1, self.layout.layers - 1) if place else 0.0
        scope = (Module("", (self.part,)), self.part, self.sources)
        return settle(self.recipe, self.spec, scope, name, [name] * len(self.sources), depth)

    def _read_base(self, name: str) -> Tensor:
        assert self.base is not None
        entry = self.base.entries.get(name)
        if entry is None:
            raise CheckpointError(f"{self.base.reference} has no tensor {name}")
        return self.base.map_tensor(entry)


def _open(source: Source, models: Models) -> Adapter:
    reference = str(source.model)
    adapter = models.adapter(reference)
    return adapter or Adapter(str(parse_reference(reference)))


def _write_card(recipe: Recipe, draft: Draft) -> str:
    lines: list[str] = [
        "---\nlibrary_name: peft\ntags: [merge, lora, evomerge]\n---",
        "# A merge of LoRA adapters",
        f"Made by `{recipe.method}` in adapter space; its ranks keep {draft.share:.4%} of the "
        "squared norm of the merged change.",
        f"```yaml\n{write_yaml(recipe.to_document())}```",
    ]
    return "\n\n".join(lines) + "\n"
