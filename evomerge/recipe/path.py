"""Paths through data-flow space (Akiba et al., 2024): layers of several models, in any order.

https://arxiv.org/abs/2403.13187

A path is a passthrough recipe whose slices have one source each. A hop is one layer on it; what
enters the layer is multiplied by the hop's scale s: the whole residual stream (`stream`, the
paper's form: h ← s·h), or only what the last MLP has added to it (`delta`, the form that its
authors' inference code has; the first hop scales the embedding). Embedding and tokenizer are the
first hop's model's, final norm and head the last one's; where both have their
embedding for a head, the path has one embedding, the first's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evomerge.checkpoints.locate import display_name, tell_apart
from evomerge.errors import Problem, RecipeError
from evomerge.recipe.model import Recipe, Slice, Source

METHOD = "passthrough"
WANTED = (
    "only a path has one: passthrough slices of one source each, and no parameters beside the scale"
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One layer on a path, and what its input is multiplied by."""

    model: str | Recipe
    layer: int
    scale: float = 1.0


def is_path(recipe: Recipe) -> bool:
    """Tell whether a recipe is a path: its layers run as they are, one after another."""
    sole = all(len(part.sources) == 1 and part.sources[0].layers for part in recipe.slices)
    shared = (recipe.base_model, recipe.parameters, recipe.modules, recipe.tokenizer, recipe.output)
    return (
        recipe.method == METHOD
        and bool(recipe.slices)
        and sole
        and not any(shared)
        and not any(part.parameters or part.base_model for part in recipe.slices)
        and not any(part.sources[0].parameters for part in recipe.slices)
    )


def has_scales(recipe: Recipe) -> bool:
    """Tell whether any slice of a recipe (not of those inside it) scales its input."""
    return any(part.input_scale != 1.0 for module in recipe.sections for part in module.slices)


def find_hops(recipe: Recipe, layers: Mapping[str | Recipe, int] | None = None) -> tuple[Hop, ...]:
    """Return the layers of a path in the order in which they run.

    Args:
        recipe: a path.
        layers: how many layers each model has; unchecked if None.

    Raises:
        RecipeError: it is no path, a layer is not there, or a scale cannot be.
    """
    problems = [*complain_of_scales(recipe)]
    if not is_path(recipe):
        problems.append(Problem("slices", f"this is no path: {WANTED}"))
    elif layers is not None:
        problems += _complain_of_layers(recipe, layers)
    if problems:
        raise RecipeError(recipe.name or "path", dict.fromkeys(problems))
    return tuple(
        Hop(source.model, layer, part.input_scale if layer == source.layers[0] else 1.0)
        for part in recipe.slices
        for source in part.sources
        if source.layers
        for layer in range(*source.layers)
    )


def describe_path(recipe: Recipe) -> str:
    """Write a path in a line: `sort 0-3, reverse 1 × 0.99, sort 3`."""
    models = list(dict.fromkeys(hop.model for hop in find_hops(recipe)))
    names = [model if isinstance(model, str) else _name_merge(model) for model in models]
    told = tell_apart([display_name(name) for name in names], names)
    labels = dict(zip(models, told, strict=True))
    return ", ".join(_describe_slice(part, labels) for part in recipe.slices)


def _name_merge(merge: Recipe) -> str:
    """Call a merge that has no name by its method, and those of the merges it is based on."""
    methods = [merge.method]
    base = merge.base_model
    while isinstance(base, Recipe):
        methods, base = [base.method, *methods], base.base_model
    return merge.name or f"the merge ({' + '.join(methods)})"


def _describe_slice(part: Slice, labels: Mapping[str | Recipe, str]) -> str:
    first, end = part.sources[0].layers or (0, 0)
    layers = f"{first}" if end == first + 1 else f"{first}-{end - 1}"
    scale = "" if part.input_scale == 1.0 else f" × {part.input_scale:.3g}"
    return f"{labels[part.sources[0].model]} {layers}{scale}"


def make_path(hops: Sequence[Hop], **settings: Any) -> Recipe:
    """Return the shortest recipe of a path: equal paths are equal recipes.

    Args:
        hops: at least one.
        settings: of the Recipe besides method and slices, such as `input_scale_target`, which
            goes unsaid where nothing is scaled.

    Raises:
        RecipeError: there is no hop, or a scale cannot be.
    """
    slices: list[Slice] = []
    for hop in hops:
        source = slices[-1].sources[0] if slices else None
        first, end = (source.layers if source else None) or (0, 0)
        if source and hop.scale == 1.0 and (source.model, end) == (hop.model, hop.layer):
            longer = Source(hop.model, (first, hop.layer + 1))
            slices[-1] = replace(slices[-1], sources=(longer,))
        else:
            lone = Source(hop.model, (hop.layer, hop.layer + 1))
            slices.append(Slice((lone,), input_scale=hop.scale))
    if not slices:
        raise RecipeError("path", [Problem("slices", "a path needs at least one layer")])
    if all(hop.scale == 1.0 for hop in hops):
        settings.pop("input_scale_target", None)
    recipe = Recipe(METHOD, tuple(slices), **settings)
    if problems := [*complain_of_scales(recipe)]:
        raise RecipeError("path", problems)
    return recipe


def complain_of_scales(recipe: Recipe) -> Iterator[Problem]:
    """Yield each scale that cannot be, with its YAML path."""
    if not has_scales(recipe):
        return
    positive = recipe.input_scale_target == "stream"
    for module in recipe.sections:
        prefix = f"modules.{module.name}." if module.name else ""
        for index, part in enumerate(module.slices):
            path, scale = f"{prefix}slices[{index}].input_scale", part.input_scale
            if not math.isfinite(scale):
                yield Problem(path, f"expected a finite number, not {scale}")
            elif positive and scale <= 0.0:
                yield Problem(path, f"the stream's scale must be > 0, not {scale:g}")
            elif scale != 1.0 and not is_path(recipe):
                yield Problem(path, WANTED)


def _complain_of_layers(recipe: Recipe, layers: Mapping[str | Recipe, int]) -> Iterator[Problem]:
    for index, part in enumerate(recipe.slices):
        source = part.sources[0]
        first, end = source.layers or (0, 0)
        count = layers[source.model]
        if not 0 <= first < end <= count:
            where = f"slices[{index}].sources[0].layer_range"
            yield Problem(where, f"[{first}, {end}] are not layers of a model of {count}")
