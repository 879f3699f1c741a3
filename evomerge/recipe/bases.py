"""Slices that name their base, as mergekit expects it."""

from dataclasses import replace

from evomerge.methods import METHODS
from evomerge.recipe.model import Recipe, Slice, Source, merges_whole_models


def name_bases(recipe: Recipe) -> Recipe:
    """Return a recipe whose slices name their base among the sources, as mergekit expects it."""
    if METHODS.get(recipe.method).base == "none":
        return recipe

    def name(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
        return slices if merges_whole_models(slices) else tuple(map(_name, slices))

    def _name(part: Slice) -> Slice:
        base = part.base_model or recipe.base_model
        if base is None or any(source.model == base for source in part.sources):
            return part
        return replace(part, sources=(*part.sources, Source(base, part.sources[0].layers)))

    modules = tuple(replace(module, slices=name(module.slices)) for module in recipe.modules)
    return replace(recipe, slices=name(recipe.slices), modules=modules)
