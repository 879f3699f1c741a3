"""How models spell the same tensor: with and without a prefix, in old layouts, or tied.

What is known of spellings stands in data/names.json; nothing here knows an architecture.
"""

import json
import re
from collections.abc import Container, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read_names() -> dict[str, Any]:
    """Return the words that tensor names and configurations are read by."""
    text = (files("evomerge") / "checkpoints" / "data" / "names.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def find_tensor(name: str, entries: Container[str], config: Mapping[str, Any]) -> str | None:
    """Find how a model spells the tensor that another model calls `name`.

    Args:
        name: as in another model of the same kind.
        entries: names of the model's tensors.
        config: the model's config.json.

    Returns:
        The name itself, another spelling of it, for a tied tensor the one it is tied to
        (the head's embedding); None where the model has nothing that answers to `name`.
    """
    spelled = find_spelling(name, entries)
    if spelled or not (is_tied(config) and _is_among(name, "tied")):
        return spelled
    others = (body + other for other in read_names()["tied"] for body in read_names()["bodies"])
    return next((other for other in others if other in entries), None)


def find_spelling(name: str, entries: Container[str]) -> str | None:
    """Find the tensor itself under any of its names, not another that it is tied to."""
    return next((spelled for spelled in _spellings(name) if spelled in entries), None)


def is_optional(name: str, config: Mapping[str, Any]) -> bool:
    """Tell whether a model of this configuration may lack a tensor and still be complete.

    That holds for buffers that are computed when a model is built, for what is tied to another
    tensor, and for heads of pretraining that no later model uses.
    """
    if any(re.search(pattern, name) for pattern in read_names()["optional"]):
        return True
    if config.get("is_encoder_decoder") and name.endswith("coder.embed_tokens.weight"):
        return is_tied(config)
    return is_tied(config) and is_head(name)


def is_head(name: str) -> bool:
    """Tell whether a tensor is a language-model head of its own (untied)."""
    return _is_among(name, "heads")


def is_tied(config: Mapping[str, Any]) -> bool:
    """Tell whether head and embedding are one tensor (the default where nothing is said)."""
    scopes = (config, config.get("text_config") or {})
    stated = (s["tie_word_embeddings"] for s in scopes if "tie_word_embeddings" in s)
    return bool(next(stated, True))


def _spellings(name: str) -> Iterator[str]:
    """Yield `name` and its other spellings, the likely ones first."""
    yield name
    bodies = read_names()["bodies"]
    stems = sorted({name.removeprefix(body) for body in bodies}, key=len)
    whole = [body + stem for stem in stems for body in bodies]
    yield from whole
    for first, second in read_names()["renamed"]:
        for old, new in ((first, second), (second, first)):
            if old in name:
                part = re.compile(rf"(?<![^.]){re.escape(old)}(?![^.])")
                yield from (part.sub(new, spelled) for spelled in whole)


def _is_among(name: str, words: str) -> bool:
    return f".{name}".endswith(_endings(words))


@cache
def _endings(words: str) -> tuple[str, ...]:
    return tuple(f".{word}" for word in read_names()[words])
