"""Parameter values of one tensor: source before slice before module before recipe."""

from collections.abc import Iterator, Sequence
from typing import Any

from evomerge.engine.plan import Input, Stored, TensorPlan
from evomerge.methods import MethodSpec
from evomerge.recipe.check import lookup
from evomerge.recipe.model import Module, Recipe, Slice, Source
from evomerge.recipe.schedule import EVERYTHING, resolve
from evomerge.registry import suggest


def settle(
    recipe: Recipe,
    spec: MethodSpec,
    scope: tuple[Module, Slice, list[Source]],
    name: str,
    own_names: Sequence[str],
    depth: float,
) -> dict[str, Any]:
    """Return the method's parameters for a tensor.

    Args:
        recipe: whose parameters count last.
        spec: the method.
        scope: module, slice, and its sources without the base.
        name: of the tensor in the result: what filters of shared parameters look at.
        own_names: one per source, the tensor's there: what filters of its own parameters look at.
        depth: t in [0, 1], where gradients are evaluated.
    """
    section, part, sources = scope

    def find(key: str, source: Source | None, tensor: str) -> Any:
        value = resolve(lookup(recipe, part, source, key, section), tensor, depth)
        return spec.parameters[key].default if value is None else value

    own = list(zip(sources, own_names, strict=True))
    return {
        key: tuple(find(key, *pair) for pair in own)
        if parameter.per_model
        else find(key, None, name)
        for key, parameter in spec.parameters.items()
    }


def own_name(node: Input, name: str) -> str:
    """Return what a node is called in its model; a merge's result is called `name`."""
    while not isinstance(node, (Stored, TensorPlan)):
        node = node.source
    return node.entry.name if isinstance(node, Stored) else name


def idle_filters(recipe: Recipe, tensors: Sequence[TensorPlan]) -> Iterator[str]:
    """Warn of filters that speak of no tensor: most are misspelt."""
    scopes = [recipe.parameters]
    for section in recipe.sections:
        scopes.append(section.parameters)
        for part in section.slices:
            scopes += [part.parameters, *(source.parameters for source in part.sources)]
    rules = (rule for scope in scopes for _, schedule in scope for rule in schedule.rules)
    for wanted in dict.fromkeys(rule.filter for rule in rules):
        if wanted not in EVERYTHING and not any(str(wanted) in t.name for t in tensors):
            words = sorted({word for tensor in tensors for word in tensor.name.split(".")})
            hint = suggest(str(wanted), words)
            yield f"the filter {wanted!r} is part of no tensor's name{hint}"
