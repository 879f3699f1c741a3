"""Several merges made one: their weighted average, in one pass, with no checkpoint in between."""

from collections.abc import Sequence

from evomerge.recipe.model import Recipe, Slice, Source, freeze_parameters
from evomerge.recipe.schedule import constant


def aggregate(recipes: Sequence[Recipe], weights: Sequence[float] | None = None) -> Recipe:
    """Return the recipe of the weighted average of other recipes' results.

    Args:
        recipes: at least one, of results of one shape; dtype and tokenizer are the first one's.
        weights: one each, >= 0; equal if absent, or where all are 0.

    Raises:
        ValueError: no recipes, or weights that are none.
    """
    parts = list(weights) if weights is not None and any(weights) else [1.0] * len(recipes)
    if not recipes or len(parts) != len(recipes) or not all(0.0 <= part < 1e12 for part in parts):
        raise ValueError("an average needs recipes, and a weight >= 0 for each")
    shares = [round(part / sum(parts), 6) for part in parts]
    sources = [
        Source(recipe, None, freeze_parameters({"weight": constant(share)}))
        for recipe, share in zip(recipes, shares, strict=True)
        if share
    ]
    return Recipe("linear", (Slice(tuple(sources)),), dtype=recipes[0].dtype)
