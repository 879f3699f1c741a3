"""The result's config.json: the reference model's, with layers and dtype as they have become."""

from copy import deepcopy
from typing import Any

from evomerge.engine.models import Models
from evomerge.errors import CheckpointError
from evomerge.recipe.model import Recipe

NOT_PER_LAYER = ("architectures", "token_id", "token_ids")
"""Ends of keys whose lists are as long as the layers by chance only."""


def write_configuration(
    recipe: Recipe, models: Models, reference: str, dtype: str
) -> dict[str, Any]:
    """Return the contents of config.json.

    Args:
        recipe: what is carried out.
        models: open models.
        reference: whose configuration is taken over.
        dtype: of most of the result's parameters.

    Raises:
        CheckpointError: layers are stacked, but a configuration does not describe them.
    """
    config = deepcopy(models[reference].config)
    if not recipe.merges_whole_models:
        _restack(config, recipe, models, reference)
    config.pop("_name_or_path", None)
    config.pop("torch_dtype", None)
    config["dtype"] = dtype
    return config


def _restack(config: dict[str, Any], recipe: Recipe, models: Models, reference: str) -> None:
    """Make the config say how many layers there are, and what kind each is."""
    layout = models.layout(reference)
    picked = [
        (part.sources[0].model, layer)
        for part in recipe.slices
        for layer in range(*(part.sources[0].layers or (0, layout.layers)))
    ]
    if layout.layer_key is None:
        raise CheckpointError(f"config.json of {reference} does not say how many layers it has")
    scope = config if layout.layer_key in config else config["text_config"]
    scope[layout.layer_key] = len(picked)
    for key, value in scope.items():
        as_long = isinstance(value, list) and len(value) == layout.layers
        if as_long and not key.endswith(NOT_PER_LAYER):
            scope[key] = [_setting(models, model, key, layer) for model, layer in picked]


def _setting(models: Models, model: str, key: str, layer: int) -> Any:
    config = models[model].config
    values = (config if key in config else config.get("text_config") or {}).get(key)
    if not isinstance(values, list) or layer >= len(values):
        raise CheckpointError(
            f"config.json of {model} has no {key} for layer {layer}, the other models' have it",
            "Save the model again with a newer transformers, or add the list by hand",
        )
    return values[layer]
