"""Where a search of weights may begin: recipes that people use, and what a coarser search found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evomerge.checkpoints.locate import display_name, tell_apart
from evomerge.genome.sought import Sought
from evomerge.methods import MethodSpec
from evomerge.recipe.check import lookup
from evomerge.recipe.model import Recipe, Slice
from evomerge.recipe.schedule import Value, depth_of, is_number, resolve
from evomerge.space import Gene

TASK_ARITHMETIC = (0.3, 0.5, 0.7, 1.0)
"""Weights of all task vectors that people try first."""


def find_known(
    spec: MethodSpec, sought: Sequence[Sought], fixed: Mapping[str, Value], parents: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Return known points, each with its weight per model.

    They are every model alone, the uniform average, and with a base task arithmetic; those of them
    that lie in the range of weights. There are none where the method has no weights to seek.

    Args:
        spec: the merge method.
        sought: its parameters that are sought.
        fixed: the values of others.
        parents: what is merged, without the base.
    """
    weight = next((part for part in sought if part.name == "weight"), None)
    if weight is None or weight.choices or not weight.parameter.per_model:
        return {}
    count, names = len(parents), [display_name(parent) for parent in parents]
    points = {
        f"only {name}": tuple(float(k == place) for k in range(count))
        for place, name in enumerate(tell_apart(names, parents))
    }
    normalizes = spec.base != "required" or _normalizes(spec, fixed)
    share = round(1.0 / count, 6)
    fits = weight.low <= share <= weight.high
    points["uniform"] = (weight.high if normalizes and not fits else share,) * count
    if not normalizes:
        points |= {f"task arithmetic {w:g}": (w,) * count for w in TASK_ARITHMETIC}
    return {
        name: point
        for name, point in points.items()
        if weight.low <= min(point) and max(point) <= weight.high
    }


def find_value(
    recipe: Recipe, name: str, model: int | None, layer: int | None, tensor: str, layers: int
) -> Value | None:
    """Return a parameter's value somewhere in a merge; None where it says nothing there.

    Args:
        recipe: of a search over the same models.
        name: of the parameter.
        model: place of the model among the sources; None for what they share.
        layer: where; None outside the layers.
        tensor: name of a tensor there, or as much of it as filters look at.
        layers: how many there are.
    """
    slice_ = next((part for part in recipe.slices if _holds(part, layer)), recipe.slices[0])
    source = None if model is None else slice_.sources[model]
    depth = depth_of(layer, layers) if layer is not None else 0.0
    return resolve(lookup(recipe, slice_, source, name), tensor, depth)


def begin_at(gene: Gene, value: Value | None) -> Gene:
    """Return the gene with another start: a number is moved into its range."""
    if value is None:
        return gene
    if not gene.choices:
        value = min(max(float(value), gene.low), gene.high)
    return replace(gene, start=value)


def usual_place(gene: Gene, part: Sought) -> float:
    """Return the place of the method's default, where it is sought; else where the gene begins."""
    default = part.parameter.default
    fits = default in gene.choices if gene.choices else is_number(default)
    if fits and (gene.choices or gene.low <= default <= gene.high):
        return gene.place(default)
    return gene.beginning


def _holds(part: Slice, layer: int | None) -> bool:
    first, end = part.sources[0].layers or (0, float("inf"))
    return layer is not None and first <= layer < end


def _normalizes(spec: MethodSpec, fixed: Mapping[str, Value]) -> bool:
    parameter = spec.parameters.get("normalize")
    return parameter is not None and bool(fixed.get("normalize", parameter.default))
