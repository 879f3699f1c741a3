"""The result's config.json: the reference model's, with layers and dtype as they have become."""

from copy import deepcopy
from typing import Any

from evomerge.engine.models import Models
from evomerge.errors import CheckpointError
from evomerge.recipe.model import Recipe


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
        CheckpointError: layers are stacked, but the configuration does not count them.
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
        if isinstance(value, list) and len(value) == layout.layers:
            scope[key] = [_setting(models[model].config, key, layer) for model, layer in picked]


def _setting(config: dict[str, Any], key: str, layer: int) -> Any:
    return (config if key in config else config["text_config"])[key][layer]
