"""Whether layers of different models can stand in one stack: what their configurations say.

A stock config.json has one rotary base, one epsilon, one number of heads for all layers. What
does not concern layers (names, tokens, dropout), or what it says of each layer in a list of its
own, may differ. Which fields those are stands in data/fields.json.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from evomerge.checkpoints.loading import complete_config
from evomerge.checkpoints.spelling import read_names

Config = Mapping[str, Any]
ABSENT = object()
COMPACT = (
    "the compact form of a path holds both (`evomerge merge --compact`, in a run file "
    "`exportable: false`)"
)
STOCK = f"a stock config.json holds one value for all layers, {COMPACT}"
HEADS = (
    f"layers of different shapes share no stock checkpoint: {COMPACT}, "
    "and cross-domain merging carries over what fits"
)
SIZE = "layers of different shapes share no path; cross-domain merging carries over what fits"
MASKS = (
    "a path that is written down, compact or not, makes its masks once, for all of its layers: "
    "choose models that agree"
)
KIND = "only layers of one architecture share a path that is written down"
REASONS = {"kind": KIND, "size": SIZE, "masks": MASKS, "heads": HEADS, "settings": STOCK}
"""Role of a field -> why layers that differ in it do not follow each other; `settings` are all the
fields that have no other role."""
WRITTEN = ("kind", "size", "masks")
"""Roles in which layers agree on every path that is written down."""


def find_unlike(
    configs: Sequence[tuple[str, Config]], *, roles: Collection[str] = tuple(REASONS)
) -> list[str]:
    """Say why the layers of models cannot follow each other; empty where they can.

    Args:
        configs: what each model is called, and the contents of its config.json.
        roles: of fields that count; all do where layers are to share one stock config.json.

    Returns:
        At most one line for each model after the first, naming it, the first and the field.
    """
    (first, config), *others = configs or [("", {})]
    told = []
    for name, other in others:
        for field, (mine, its) in _find_differences(config, other).items():
            role = _find_role(field)
            if role in roles:
                said = f"{first} has {field} {_say(mine)} and {name} has {_say(its)}"
                told.append(f"{said}: {REASONS[role]}")
                break
    return told


def find_misfits(configs: Sequence[tuple[str, Config]]) -> list[str]:
    """Say why layers cannot share a config.json that loads and runs, whatever they compute then.

    Args:
        configs: as `find_unlike` takes them.
    """
    typed = any("layer_types" in (complete_config(config) or config) for _, config in configs)
    return find_unlike(configs, roles=("size", "heads", "masks") if typed else ("size", "heads"))


def find_numbered(configs: Sequence[tuple[str, Config]]) -> list[str]:
    """Say which models' layers can stand nowhere else, as what they are depends on their number.

    Args:
        configs: as `find_unlike` takes them.
    """
    told = []
    for name, config in configs:
        complete = complete_config(config) or config
        for field, usual in read_numbered().items():
            value = complete.get(field)
            if value is not None and value != usual:
                told.append(
                    f"{name} has {field} {_say(value)}: what a layer does depends on its number "
                    "there, so it can be no other's; take models without that"
                )
    return told


def _find_role(field: str) -> str:
    known = read_fields()
    return next((role for role in REASONS if field in known.get(role, ())), "settings")


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
    """Return the fields in which two configurations differ, what no form of a path holds first."""
    found = _compare(first, second)
    if first != second:  # one may spell out defaults, use older names, or switch other fields off
        left, right = complete_config(first), complete_config(second)
        found = _compare(left, right) if left and right else found
    known = read_fields()
    telling = [field for role in REASONS for field in known.get(role, ())]
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


def read_fields() -> dict[str, list[str]]:
    """Return what is known of the fields of configurations, by role."""
    return {role: list(found) for role, found in _read_table().items()}


def read_numbered() -> dict[str, Any]:
    """Return fields by which a layer's number matters, and the value with which it does not."""
    return dict(_read_table()["numbered"])


@cache
def _read_table() -> dict[str, Any]:
    text = (files("evomerge") / "checkpoints" / "data" / "fields.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
