"""An adapter, opened: what it does to each tensor of a model."""

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache, partial

import torch

from evomerge.adapters.contents import WEIGHTS, Module, read_contents
from evomerge.adapters.names import shorten
from evomerge.adapters.patch import Factors, Patch
from evomerge.adapters.tensors import read_tensor
from evomerge.checkpoints.locate import locate_adapter
from evomerge.checkpoints.reader import Entry
from evomerge.errors import CheckpointError

REMEMBERED = 4
"""Tensors whose factors stay in memory: about as many as are adapted at a time."""
Part = tuple[Module, str]
"""A module, and which of its tensors: 'weight' or 'bias'."""


class Adapter:
    """An open LoRA adapter (rsLoRA, DoRA and whole replacements included).

    Args:
        reference: what `locate_adapter` understands.

    Attributes:
        reference: as given.
        folder: where it is.
        config: adapter_config.json.
        modules: module name -> factors.
        replacements: tensor name -> entry that replaces the model's tensor.

    Raises:
        CheckpointError: a file is missing or damaged, or the adapter is of a kind that cannot be
            folded into weights.
    """

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.folder = locate_adapter(reference)
        contents = read_contents(self.folder, reference)
        self.config, self.modules = contents.config, contents.modules
        self.replacements = contents.replacements
        self._modules = {shorten(name): module for name, module in self.modules.items()}
        self._replacements = {shorten(name): e for name, e in self.replacements.items()}
        self._load = lru_cache(REMEMBERED)(self._read_factors)

    def patch(self, name: str, shape: tuple[int, ...]) -> Patch | None:
        """Return what the adapter does to the model's tensor `name`; None if nothing.

        The factors are read when the patch is applied.

        Raises:
            CheckpointError: the tensor has another shape than the adapter expects.
        """
        part = self._part(name)
        if part is None:
            return None
        if problem := self._misfit(part, name, shape):
            raise CheckpointError(problem, "Was the adapter trained on this model?")
        module, role = part
        turned = role == "weight" and self._is_turned(module, shape)
        whole = turned and "magnitude_vector" in module.entries
        return Patch(partial(self._load, module.name, role, turned), whole)

    def entries(self, name: str) -> list[Entry]:
        """Return the adapter's tensors that change the model's tensor `name`."""
        part, replaced = self._part(name), self.replacement(name)
        return [*(part[0].entries.values() if part else ()), *([replaced] if replaced else ())]

    def replacement(self, name: str) -> Entry | None:
        """Return the entry that replaces the model's tensor `name`; None if none does.

        A patch of the same tensor, if there is one, applies to the replacement.
        """
        return self._replacements.get(shorten(name))

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Return all reasons why the adapter does not fit a model of these tensors."""
        problems: list[str] = []
        met = defaultdict[str, list[str]](list)
        for name, shape in shapes.items():
            part, entry = self._part(name), self.replacement(name)
            if part and (problem := self._misfit(part, name, shape)):
                problems.append(problem)
            if entry and entry.shape != shape:
                problems.append(
                    f"{name} is {list(shape)}, but {self.reference} replaces it by "
                    f"{list(entry.shape)}"
                )
            if part:
                met[f"{part[0].name}.{part[1]}"].append(name)
            if entry:
                met[entry.name].append(name)
        problems += [
            f"{self.reference} adapts both {names[0]} and {names[1]} by the same factors"
            for names in met.values()
            if len(names) > 1
        ]
        return problems + [
            f"{self.reference} adapts {name}, which the model lacks" for name in self._missed(met)
        ]

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the contents, 32 hexadecimal digits: settings and every byte of weights."""
        keys = ("lora_alpha", "alpha_pattern", "use_rslora", "fan_in_fan_out", "lora_bias")
        digest = hashlib.sha256(json.dumps({k: self.config.get(k) for k in keys}).encode())
        with (self.folder / WEIGHTS).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()[:32]

    def scale(self, module: Module) -> float:
        """Return what B A is multiplied by: alpha / rank, or alpha / √rank for rsLoRA.

        rsLoRA: Kalajdzievski, 2023, https://arxiv.org/abs/2312.03732, theorem 3.2.
        """
        alpha = self.config.get("lora_alpha", 8)
        for pattern, own in (self.config.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module.name):
                alpha = own
                break
        root = math.sqrt(module.rank) if self.config.get("use_rslora") else module.rank
        return float(alpha / root)

    def _part(self, name: str) -> Part | None:
        stem, _, leaf = name.rpartition(".")
        module = self._modules.get(shorten(stem))
        if module is None or leaf not in ("weight", "bias"):
            return None
        return (module, leaf) if leaf == "weight" or "bias" in module.entries else None

    def _misfit(self, part: Part, name: str, shape: tuple[int, ...]) -> str:
        outputs, inputs = part[0].shape
        expected: tuple[int, ...] = (outputs, inputs)
        if part[1] == "bias":
            expected = (outputs,)
        elif part[0].embedding or (self.config.get("fan_in_fan_out") and shape != expected):
            expected = (inputs, outputs)
        if shape == expected:
            return ""
        return f"{name} is {list(shape)}, but {self.reference} adapts {list(expected)}"

    def _is_turned(self, module: Module, shape: tuple[int, ...]) -> bool:
        """Tell whether the tensor's rows are inputs: embeddings, and GPT-2's Conv1D.

        A model may hold both kinds; only where a matrix is square the adapter's setting decides.
        """
        outputs, inputs = module.shape
        conv1d = bool(self.config.get("fan_in_fan_out"))
        return module.embedding or (conv1d and (outputs == inputs or shape != (outputs, inputs)))

    def _read_factors(self, name: str, role: str, turned: bool) -> Factors:
        module = self.modules[name]
        scale, entries = self.scale(module), module.entries
        if role == "bias":
            bias = read_tensor(entries["bias"]).double().mul_(scale).float()
            return Factors(torch.ones(1, 1), bias.view(1, -1))
        a = read_tensor(entries["A"]).float()
        b = read_tensor(entries["B"]).double().mul_(scale).float()
        stored = entries.get("magnitude_vector")
        magnitude = read_tensor(stored).double().view(-1) if stored else None
        left, right = (a.T, b.T) if turned else (b, a)
        return Factors(left.contiguous(), right.contiguous(), magnitude)

    def _missed(self, met: Mapping[str, list[str]]) -> Iterator[str]:
        """Yield what the adapter changes but the model lacks.

        peft saves the head of a model that ties it to its embeddings as a copy of these.
        """
        for module in self.modules.values():
            for role in ("weight", "bias"):
                needed = role == "weight" or "bias" in module.entries
                if needed and f"{module.name}.{role}" not in met:
                    yield f"{module.name}.{role}"
        used = [entry for entry in self.replacements.values() if entry.name in met]
        for name, entry in self.replacements.items():
            if entry.name not in met and not any(_same(entry, other) for other in used):
                yield name


def _same(one: Entry, other: Entry) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return torch.equal(read_tensor(one), read_tensor(other))
