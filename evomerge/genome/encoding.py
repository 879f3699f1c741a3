"""From a merge back to the genome of a parameter space: the inverse of `ParameterSpace.decode`.

So a search begins at what another one found: mergekit-evolve's or LLM-Evo-Merge's best_config.yaml,
or a recipe of one's own. A recipe is read as it would be carried out, tensor by tensor, so how it
is written down does not matter.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evomerge.checkpoints.architecture import Layout
from evomerge.checkpoints.locate import display_name
from evomerge.errors import ConfigError, Problem
from evomerge.genome.groups import Group
from evomerge.genome.parameter_space import ParameterSpace
from evomerge.genome.recipe_view import RecipeView, match_models
from evomerge.methods.spec import MISSING
from evomerge.recipe.model import Recipe
from evomerge.recipe.schedule import is_number
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

PLACE = "genome.start"
"""Where the run file names the merge."""
START = "start"
"""Name of the known point at which a search begins."""
CLOSE = 1e-5
"""Largest difference between a value and what its gene, rounded, stands for."""


def encode(
    space: ParameterSpace, recipe: Recipe, layout: Layout
) -> "tuple[Genome, tuple[str, ...]]":
    """Return the point of a space that decodes to a merge.

    Values are exact up to the rounding of a gene.

    Args:
        space: of the same models, method, layers and components.
        recipe: whose models are named as the space's are, or by folders of the same name.
        layout: of the models.

    Returns:
        The point, shape (genes,), and what to know of it: values beyond a gene's range, which are
        clipped, and parameters without genes that the genome sets otherwise.

    Raises:
        ConfigError: no point of the space is that merge, and why.
    """
    found = _view(space, recipe, layout)
    values = _find_values(space, found)
    point = space.space.encode(values)
    made = RecipeView(space.decode(point), space.spec, layout, space.base_model)
    return point, (*_describe_clipped(space.space, values), *_compare(space, found, made))


def begin_at(space: ParameterSpace, recipe: Recipe, layout: Layout) -> ParameterSpace:
    """Return the space with every gene beginning at a merge, which is its only known point.

    Raises:
        ConfigError: no point of the space is that merge, and why.
    """
    point, _ = encode(space, recipe, layout)
    values = space.space.decode(point)
    genes = [replace(gene, start=values[gene.name], chances=()) for gene in space.space.genes]
    begun = copy(space)
    begun.space = SearchSpace(genes, known={START: point}, metric=space.space.metric)
    return begun


def _view(space: ParameterSpace, recipe: Recipe, layout: Layout) -> RecipeView:
    """Return the recipe in the words of a space."""
    if recipe.method != space.spec.name:
        told = f"its merge_method is {recipe.method}, the genome's is {space.spec.name}"
        raise _refuse(told)
    if recipe.recipes:
        raise _refuse("it merges the results of other recipes, and a genome merges models")
    ours = dict.fromkeys(filter(None, [*space.parents, space.base_model]))
    try:
        names = match_models(recipe.models, [*ours])
        renamed = recipe.rename_models(lambda model: names.get(str(model), model))
        return RecipeView(renamed, space.spec, layout, space.base_model)
    except ValueError as error:
        raise _refuse(str(error)) from None


def _find_values(space: ParameterSpace, found: RecipeView) -> dict[str, Any]:
    """Return the value of every gene; numbers may lie beyond their ranges."""
    values = {}
    for gene, (part, model, group, component) in zip(space.space.genes, space.slots(), strict=True):
        owner = None if model is None else space.parents[model]
        tensor, layer = _choose_place(space, found.layout, group, component)
        value = found.get(part.name, owner, tensor, layer)
        if value is MISSING:
            raise _refuse(f"it says nothing of {_name(part.name, owner)} at {tensor}")
        if gene.choices and value not in gene.choices:
            known = ", ".join(map(repr, gene.choices))
            raise _refuse(f"{_name(part.name, owner)} is {value!r} at {tensor}, none of {known}")
        values[gene.name] = value
    return values


def _choose_place(
    space: ParameterSpace, layout: Layout, group: Group, component: str
) -> tuple[str, float | None]:
    """Return a tensor for which a gene speaks, and its layer; None outside the layers.

    Interpolated values count at one depth each, the first and the last at both ends.
    """
    if group.layers is None:
        return group.tensors[0], None
    groups = space.layer_groups
    layer: float = group.layers[0]
    if space.smooth and len(groups) > 1:
        layer = groups.index(group) * (layout.layers - 1) / (len(groups) - 1)
    names = [layout.name(group.layers[0], part) for part in layout.parts]
    own = [name for name in names if _component_of(space, name) == component]
    return (own or [*space.components[component], component])[0], layer


def _component_of(space: ParameterSpace, tensor: str) -> str:
    """Return the component of a tensor: the first whose filters match; the last takes the rest."""
    *first, last = space.components.items()
    return next((name for name, parts in first if any(p in tensor for p in parts)), last[0])


def _compare(space: ParameterSpace, found: RecipeView, made: RecipeView) -> Iterator[str]:
    """Hold a recipe against what its genome decodes to, at every tensor; yield what has no gene.

    Raises:
        ConfigError: a parameter that is sought differs.
    """
    sought = {part.name: part for part, _, _, _ in space.slots()}
    others: dict[str, tuple[Any, Any]] = {}
    for tensor, layer in _tensors(found.layout):
        for name, parameter in space.spec.parameters.items():
            for owner in space.parents if parameter.per_model else [None]:
                theirs, ours = (view.get(name, owner, tensor, layer) for view in (found, made))
                part = sought.get(name)
                if part and not part.choices and is_number(theirs):
                    theirs = min(max(theirs, part.low), part.high)
                if _is_same(theirs, ours):
                    continue
                if part:
                    told = f"{_name(name, owner)} is {_show(theirs)} at {tensor}, and {_show(ours)}"
                    why = "layer_granularity, filters or smooth differ"
                    raise _refuse(f"{told} in the nearest genome: {why}")
                others.setdefault(name, (theirs, ours))
    for name, (theirs, ours) in others.items():
        where = "unless `genome.parameters` says otherwise"
        yield f"{name} is {_show(theirs)} there and {_show(ours)} in the genome, {where}"


def _tensors(layout: Layout) -> Iterator[tuple[str, int | None]]:
    for layer in range(layout.layers):
        for part in layout.parts:
            yield layout.name(layer, part), layer
    for name in (*layout.before, *layout.after):
        yield name, None


def _describe_clipped(space: SearchSpace, values: dict[str, Any]) -> Iterator[str]:
    clipped = [gene for gene in space.genes if _is_outside(values[gene.name], gene)]
    if clipped:
        gene, count = clipped[0], len(clipped)
        are = "lies beyond its range and is" if count == 1 else "lie beyond their ranges and are"
        first = f"{gene.name} is {_show(values[gene.name])} there, and sought in"
        told = f"{first} [{gene.low:g}, {gene.high:g}]"
        yield f"{count} of {len(space)} values {are} clipped: {told}"


def _is_outside(value: Any, gene: Gene) -> bool:
    return not gene.choices and not gene.low - CLOSE <= value <= gene.high + CLOSE


def _is_same(one: Any, other: Any) -> bool:
    if is_number(one) and is_number(other):
        return abs(one - other) <= CLOSE
    return bool(one == other)


def _name(parameter: str, model: str | None) -> str:
    return parameter if model is None else f"{parameter} of {display_name(model)}"


def _show(value: Any) -> str:
    return f"{value:.6g}" if is_number(value) else str(value).lower()


def _refuse(message: str) -> ConfigError:
    return ConfigError("run file", [Problem(PLACE, f"no genome is this merge: {message}")])
