"""Whether layers of different models can stand in one stack: what their configurations say.

A stock config.json has one rotary base, one epsilon, one number of heads for all layers. What
does not concern layers (names, tokens, dropout), or what it says of each layer in a list of its
own, may differ. Which fields those are stands in data/fields.json.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from evomerge.checkpoints.loading import complete_config
from evomerge.checkpoints.spelling import read_names

Config = Mapping[str, Any]
ABSENT = object()
COMPACT = "the compact form of a path holds both (`evomerge merge --compact`)"
STOCK = f"a stock config.json holds one value for all layers, {COMPACT}"
HEADS = (
    f"layers of different shapes share no stock checkpoint: {COMPACT}, "
    "and cross-domain merging carries over what fits"
)
SIZE = "layers of different shapes share no path; cross-domain merging carries over what fits"
MASKS = "a path that is written down makes its masks once, for all of its layers"


def find_unlike(configs: Mapping[str, Config], *, stock: bool = True) -> list[str]:
    """Say why the layers of models cannot follow each other; empty where they can.

    Args:
        configs: contents of each model's config.json, by what the model is called.
        stock: whether they are to share one stock config.json; else only what no path holds counts.

    Returns:
        At most one line for each model after the first, naming it, the first and the field.
    """
    (first, config), *others = configs.items() or [("", {})]
    told = []
    for name, other in others:
        for field, (mine, its) in _find_differences(config, other).items():
            if why := _find_reason(field, stock):
                told.append(f"{first} has {field} {_say(mine)} and {name} has {_say(its)}: {why}")
                break
    return told


def _find_reason(field: str, stock: bool) -> str:
    """Say why layers that differ in a field share no stack; nothing where they do."""
    known = read_fields()
    if field in known["size"]:
        return SIZE
    if field in known["masks"]:
        return MASKS
    if not stock:
        return ""
    return HEADS if field in known["heads"] else STOCK


def find_settings(first: Config, second: Config) -> dict[str, Any]:
    """Return the settings of a second model's layers that the first's do not have.

    Args:
        first: contents of a config.json.
        second: of another.

    Returns:
        Fields at the top of the second, whole, with every default spelled out.
    """
    fields = {field.partition(".")[0] for field in _find_differences(first, second)}
    complete = (complete_config(second) if fields else None) or second
    return {field: complete.get(field) for field in sorted(fields)}


def _find_differences(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations differ, what says most first."""
    found = _compare(first, second)
    if found:  # one may spell out what is the default, or use older names
        left, right = complete_config(first), complete_config(second)
        found = _compare(left, right) if left and right else found
    known = read_fields()
    telling = ["model_type", *known["size"], *known["heads"], *known["masks"]]
    order = {field: place for place, field in enumerate(telling)}
    return dict(sorted(found.items(), key=lambda entry: (order.get(entry[0], 99), entry[0])))


def _compare(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
    left, right = _flatten(first), _flatten(second)
    pairs = {k: (left.get(k, ABSENT), right.get(k, ABSENT)) for k in left.keys() | right.keys()}
    return {k: pair for k, pair in pairs.items() if pair[0] != pair[1] and _matters(k)}


def _flatten(config: Config, prefix: str = "") -> dict[str, Any]:
    """Write nested fields as `rope_parameters.rope_theta`.

    Left out are nulls, which say nothing, and lists with an entry for each layer.
    """
    found: dict[str, Any] = {}
    layers = [config[key] for key in read_names()["layer_counts"] if key in config]
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _flatten(value, f"{prefix}{key}.")
        elif value is not None and not (isinstance(value, list) and len(value) in layers):
            found[prefix + str(key)] = value
    return found


def _matters(field: str) -> bool:
    known = read_fields()["not_of_layers"] + read_names()["layer_counts"]
    return not any(re.fullmatch(pattern, field) for pattern in known)


def _say(value: Any) -> str:
    return "none" if value is ABSENT else json.dumps(value, default=str)


@cache
def read_fields() -> dict[str, list[str]]:
    """Return what is known of the fields of configurations, by role."""
    text = (files("evomerge") / "checkpoints" / "data" / "fields.json").read_text("utf-8")
    table: dict[str, list[str]] = json.loads(text)
    return table
