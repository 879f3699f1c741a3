"""Which tensors of a model are layers: read off the tensors' names, for any architecture.

`model.layers.3.mlp.up_proj.weight` is part `mlp.up_proj.weight` of layer 3 of the stack
`model.layers.`. The stack whose length config.json states (else the one with most tensors) is
the one that recipes slice; every other tensor stands before it or after it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

NUMBERED = re.compile(r"^(?P<stack>.*?(?:^|\.))(?P<layer>\d+)\.(?P<part>.+)$")


@cache
def _names() -> dict[str, list[str]]:
    text = (files("evomerge") / "checkpoints" / "data" / "names.json").read_text(encoding="utf-8")
    table: dict[str, list[str]] = json.loads(text)
    return table


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a model.

    Attributes:
        stack: prefix of the layer stack, 'model.layers.'; empty when there is none.
        layers: number of layers in it.
        parts: names within a layer, sorted.
        before: tensors that do their work before the layers: embeddings.
        after: tensors that do it after: final norm and head.
        layer_key: the config key that holds the number of layers, or None.
    """

    stack: str
    layers: int
    parts: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    layer_key: str | None

    def locate(self, name: str) -> tuple[int, str] | None:
        """Return (layer, part) of a tensor in the stack, None for any other."""
        if not self.stack or not name.startswith(self.stack):
            return None
        layer, _, part = name.removeprefix(self.stack).partition(".")
        return (int(layer), part) if layer.isdigit() else None

    def name(self, layer: int, part: str) -> str:
        """Return the full name of a part of a layer."""
        return f"{self.stack}{layer}.{part}"


def read_layout(config: Mapping[str, Any], tensors: Iterable[str]) -> Layout:
    """Infer the layout from the configuration and the tensors' names."""
    names = sorted(tensors)
    stacks: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if match := NUMBERED.match(name):
            stacks[match["stack"]][int(match["layer"])].append(match["part"])
    layer_key, stated = _stated_layers(config)
    stack = max(
        stacks,
        key=lambda s: (len(stacks[s]) == stated, sum(map(len, stacks[s].values()))),
        default="",
    )
    layers = stacks.get(stack, {})
    rest = [n for n in names if not (stack and n.startswith(stack) and NUMBERED.match(n))]
    before = tuple(n for n in rest if any(word in n for word in _names()["embeddings"]))
    return Layout(
        stack=stack,
        layers=max(layers, default=-1) + 1,
        parts=tuple(sorted({part for parts in layers.values() for part in parts})),
        before=before,
        after=tuple(n for n in rest if n not in before),
        layer_key=layer_key,
    )


def is_head(name: str) -> bool:
    """Tell whether a tensor is a language-model head of its own (untied)."""
    return any(word in name for word in _names()["heads"])


def _stated_layers(config: Mapping[str, Any]) -> tuple[str | None, int | None]:
    for scope in (config, config.get("text_config") or {}):
        for key in _names()["layer_counts"]:
            if isinstance(scope.get(key), int):
                return key, scope[key]
    return None, None
