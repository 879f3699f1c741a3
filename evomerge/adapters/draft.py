"""An adapter that is to be written, as peft reads it."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.adapters.contents import CONFIG, PREFIX, WEIGHTS
from evomerge.adapters.low_rank import LowRank
from evomerge.adapters.tensors import DTYPES
from evomerge.checkpoints.reader import SINGLE
from evomerge.checkpoints.writer import Shape, Shards, write_text


@dataclass(frozen=True, slots=True)
class Whole:
    """A tensor that replaces the model's; read when it is written.

    Attributes:
        dtype: safetensors code.
        shape: its shape.
        read: returns it.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class Draft:
    """An adapter, complete but not written. Its scale is 1.

    Attributes:
        base_model: what adapter_config.json names as its model.
        changes: module name -> change of its weight, (outputs, inputs); those of rank 0 are not
            written.
        embeddings: those of the modules that are embeddings: inputs are tokens.
        whole: tensor name -> what replaces it.
        fan_in_fan_out: whether some weights are stored as (inputs, outputs), as GPT-2's are.
        dtype: safetensors code of the factors.
        others: the model's modules that are left alone, with which names can be shortened; None
            where they are not known.
        task_type: peft's word for the kind of model.
    """

    base_model: str
    changes: Mapping[str, LowRank]
    embeddings: Collection[str] = ()
    whole: Mapping[str, Whole] = field(default_factory=dict)
    fan_in_fan_out: bool = False
    dtype: str = "F32"
    others: Collection[str] | None = None
    task_type: str | None = "CAUSAL_LM"

    @property
    def adapted(self) -> dict[str, LowRank]:
        """The changes that are written."""
        return {name: change for name, change in self.changes.items() if change.rank}

    @property
    def share(self) -> float:
        """Share of the changes' squared norm that their ranks keep."""
        total = sum(change.total for change in self.changes.values())
        kept = sum(min(change.kept, change.total) for change in self.changes.values())
        return kept / total if total else 1.0

    @property
    def error(self) -> float:
        """‖change lost‖ / ‖change‖, Frobenius norms over all modules."""
        return math.sqrt(1.0 - self.share)

    @property
    def bytes(self) -> int:
        """Size of its tensors."""
        return sum(shape.bytes for shape in self._tensors())

    def config(self) -> dict[str, Any]:
        """Return adapter_config.json."""
        ranks = {name: change.rank for name, change in self.adapted.items()}
        usual = max(ranks.values(), default=1)
        odd = {name: rank for name, rank in sorted(ranks.items()) if rank != usual}
        replaced = {name.rpartition(".")[0] for name in self.whole if not name.endswith(".bias")}
        saved = replaced - {*ranks}  # `bias: all` finds biases by itself
        known = self.others is not None
        everything = {*ranks, *saved, *(self.others or ())}
        return {
            "base_model_name_or_path": self.base_model,
            "peft_type": "LORA",
            "task_type": self.task_type,
            "r": usual,
            "lora_alpha": usual,
            "rank_pattern": odd,
            "alpha_pattern": odd,
            "target_modules": _shorten(ranks, everything) if known else sorted(ranks),
            "modules_to_save": (_shorten(saved, everything) if known else sorted(saved)) or None,
            "bias": "all" if any(name.endswith(".bias") for name in self.whole) else "none",
            "fan_in_fan_out": self.fan_in_fan_out,
            "use_rslora": False,
            "use_dora": False,
            "lora_dropout": 0.0,
            "inference_mode": True,
        }

    def write(self, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors into an existing folder."""
        tensors = self._tensors()
        with Shards(folder, [list(tensors)]) as shards:
            for shape, read in tensors.items():
                tensor = read().to(DTYPES[shape.dtype]).contiguous()
                raw = tensor.view(-1).view(torch.uint8).numpy().data
                shards.write(shape.name, 0, raw)
        (folder / SINGLE).rename(folder / WEIGHTS)
        write_text(folder / CONFIG, json.dumps(self.config(), indent=2, sort_keys=True) + "\n")

    def _tensors(self) -> dict[Shape, Callable[[], Tensor]]:
        found: dict[Shape, Callable[[], Tensor]] = {}
        for name, change in self.adapted.items():
            kind, leaf = ("embedding_", "") if name in self.embeddings else ("", ".weight")
            for role, factor in (("A", change.a), ("B", change.b)):
                full = f"{PREFIX}{name}.lora_{kind}{role}{leaf}"
                found[Shape(full, self.dtype, tuple(factor.shape))] = factor.clone
        for name, whole in self.whole.items():
            found[Shape(self._whole_name(name), whole.dtype, whole.shape)] = whole.read
        return dict(sorted(found.items(), key=lambda item: item[0].name))

    def _whole_name(self, name: str) -> str:
        """Return what peft calls a tensor: modules that it adapts become an inner layer."""
        module, _, leaf = name.rpartition(".")
        return f"{PREFIX}{module}.base_layer.{leaf}" if module in self.adapted else PREFIX + name


def _shorten(modules: Collection[str], everything: Collection[str]) -> list[str]:
    """Name modules by their last word where that means the same modules, else in full."""
    words = {name.rpartition(".")[2] for name in modules}
    short = {w for w in words if all(n in modules for n in everything if n.endswith(w))}
    return sorted(short | {name for name in modules if name.rpartition(".")[2] not in short})
