"""Where the layers of an architecture write into the residual stream.

A layer adds what its attention and its MLP have found to a stream that runs past it; what they
add is linear in an output projection (weight and bias), or in the gain of a norm behind it. What
is known of architectures stands in data/streams.json; nothing here knows one.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class ResidualStream:
    """Which tensors the stream of an architecture runs through; parts of their names.

    Attributes:
        attention: what the attention's part of the stream is linear in.
        mlp: what the MLP's part is linear in.
        embedding: what the stream is made of before the first layer.
        readers: what reads the stream without a norm before it; empty where norms do.
        gain_offset: the norm behind a part multiplies by (this + its weight), as Gemma's does.
        head: what a head of its own is called where it is tied to the embedding.
    """

    attention: tuple[str, ...]
    mlp: tuple[str, ...]
    embedding: tuple[str, ...]
    readers: tuple[str, ...] = ()
    gain_offset: float = 0.0
    head: str = "lm_head.weight"

    def among(self, tensors: Collection[str]) -> "ResidualStream":
        """Return the same without the spellings that none of these tensors has."""

        def present(parts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(part for part in parts if any(part in name for name in tensors))

        return replace(
            self,
            attention=present(self.attention),
            mlp=present(self.mlp),
            embedding=present(self.embedding),
            readers=present(self.readers),
        )


def find_stream(config: Mapping[str, Any], tensors: Collection[str]) -> ResidualStream | None:
    """Return a model's stream; None where it is not known, or is no plain sum.

    Args:
        config: the contents of its config.json.
        tensors: the names of its tensors.
    """
    known, needs = read_streams().get(str(config.get("model_type")), (None, {}))
    if known is None or any(config.get(key, value) != value for key, value in needs.items()):
        return None
    found = known.among(tensors)
    return found if found.attention and found.mlp and found.embedding else None


@cache
def read_streams() -> dict[str, tuple[ResidualStream, dict[str, Any]]]:
    """Return each architecture's stream, and the settings that its config.json must have."""
    text = (files("evomerge") / "checkpoints" / "data" / "streams.json").read_text("utf-8")
    found: dict[str, tuple[ResidualStream, dict[str, Any]]] = {}
    for entry in json.loads(text):
        types, needs = entry.pop("types"), entry.pop("needs", {})
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        found |= dict.fromkeys(types, (ResidualStream(**fields), needs))
    return found
