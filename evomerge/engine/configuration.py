"""The result's config.json: the reference model's, with layers as they have become."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from evomerge.checkpoints.architecture import Layout
from evomerge.checkpoints.loading import complete_config
from evomerge.engine.ingredients import Ingredient
from evomerge.errors import CheckpointError
from evomerge.recipe.model import Module, Recipe

NOT_PER_LAYER = ("architectures", "token_id", "token_ids")
"""Ends of keys whose lists are as long as the layers by chance only."""

KINDS = "layer_types"

Ingredients = Mapping[str | Recipe, Ingredient]
Picked = list[tuple[Ingredient, int]]
"""Where each layer of the result comes from: an ingredient and the number there."""


def write_configuration(
    ingredients: Ingredients,
    reference: str | Recipe,
    sections: Sequence[tuple[Layout, Module | None]],
) -> dict[str, Any]:
    """Return the contents of config.json.

    Args:
        ingredients: what is merged.
        reference: whose configuration is taken over.
        sections: each module of the reference with what the recipe says of it.

    Raises:
        CheckpointError: layers are stacked, but a configuration does not describe them.
    """
    config = deepcopy(dict(ingredients[reference].config))
    for layout, section in sections:
        if section and layout.layers and not section.merges_whole_models:
            _restack(
                config,
                ingredients[reference].label,
                layout,
                _pick_layers(ingredients, layout, section),
            )
    config.pop("_name_or_path", None)
    config.pop("torch_dtype", None)
    return config


def _pick_layers(ingredients: Ingredients, layout: Layout, section: Module) -> Picked:
    sources = [part.sources[0] for part in section.slices]
    return [
        (ingredients[source.model], layer)
        for source in sources
        for layer in range(*(source.layers or (0, layout.layers)))
    ]


def _restack(config: dict[str, Any], label: str, layout: Layout, picked: Picked) -> None:
    """Make the config say how many layers there are, and what kind each is."""
    if layout.layer_key is None:
        raise CheckpointError(f"config.json of {label} does not say how many layers there are")
    *path, key = layout.layer_key
    scope = config
    for part in path:
        scope = scope[part]
    scope |= _kinds_of_layers(scope)
    scope[key] = len(picked)
    for name, value in scope.items():
        as_long = isinstance(value, list) and len(value) == layout.layers
        if as_long and not name.endswith(NOT_PER_LAYER):
            scope[name] = [_setting(origin, path, name, layer) for origin, layer in picked]


def _setting(origin: Ingredient, path: Sequence[str], key: str, layer: int) -> Any:
    scope: Any = origin.config
    for part in path:
        scope = scope.get(part) or {}
    values = scope.get(key) or _kinds_of_layers(scope).get(key)
    if not isinstance(values, list) or layer >= len(values):
        raise CheckpointError(
            f"config.json of {origin.label} has no {key} for layer {layer}, "
            "the other models' have it",
            "Save the model again with a newer transformers, or add the list by hand",
        )
    return values[layer]


def _kinds_of_layers(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Spell out which layers slide where a configuration leaves it to the layers' numbers."""
    if KINDS in scope or not any(value for key, value in scope.items() if "sliding" in key):
        return {}
    complete = complete_config(scope) or {}
    return {KINDS: complete[KINDS]} if complete.get(KINDS) else {}
