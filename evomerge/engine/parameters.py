"""Parameter values of one tensor: source before slice before module before recipe."""

from collections.abc import Iterator, Sequence
from typing import Any

from evomerge.engine.plan import Input, Stored, TensorPlan
from evomerge.methods import MethodSpec
from evomerge.recipe.check import resolve
from evomerge.recipe.model import Module, Parameters, Recipe, Slice, Source
from evomerge.recipe.schedule import EVERYTHING
from evomerge.registry import suggest


def settle(
    recipe: Recipe,
    spec: MethodSpec,
    scope: tuple[Module, Slice, list[Source]],
    name: str,
    inputs: Sequence[Input],
    depth: float,
) -> dict[str, Any]:
    """Return the method's parameters for a tensor.

    Args:
        recipe: whose parameters count last.
        spec: the method.
        scope: module, slice, and its sources without the base.
        name: of the tensor in the result: what filters of shared parameters look at.
        inputs: one per source; filters of a source's own parameters look at their names.
        depth: t in [0, 1], where gradients are evaluated.
    """
    section, part, sources = scope
    shared = [part.parameters, section.parameters, recipe.parameters]
    values: dict[str, Any] = {}
    for key, parameter in spec.parameters.items():
        if parameter.per_model:
            own = zip(sources, inputs, strict=True)
            found = [
                _first([source.parameters, *shared], key, _own_name(i, name), depth)
                for source, i in own
            ]
            values[key] = tuple(parameter.default if v is None else v for v in found)
        else:
            value = _first(shared, key, name, depth)
            values[key] = parameter.default if value is None else value
    return values


def _first(scopes: Sequence[Parameters], key: str, name: str, depth: float) -> Any:
    schedules = [found for scope in scopes if (found := dict(scope).get(key))]
    return resolve(schedules, name, depth)


def _own_name(node: Input, name: str) -> str:
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
