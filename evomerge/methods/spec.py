"""What a merge method declares, read off its signature.

A method is one function of `Operands` and keyword parameters. It may walk the operands to reduce
them, and returns a formula for one block:

```python
@merge_method("linear")
def linear(operands: Operands, *, weight: PerModel[Weight], normalize: bool = True) -> Formula: ...
```

Bounds, search ranges, defaults and per-model parameters are the annotations; a trailing
underscore keeps a name from being a Python keyword (`lambda_` is `lambda` in YAML).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from evomerge.methods.parameters import (
    MISSING,
    Density,
    Fraction,
    InGenomes,
    Limit,
    Limits,
    ParameterSpec,
    PerModel,
    Range,
    Scale,
    Search,
    Weight,
    read_parameters,
    spread,
)
from evomerge.registry import Registry, suggest
from evomerge.tensor_ops.blocks import Formula, Granularity, Operands

Base = Literal["required", "optional", "none"]
Grain = Granularity | Callable[[Mapping[str, Any]], Granularity]
"""What blocks must hold: the same for all values, or a function of the settled ones."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A merge method: its function and all that follows from its declaration.

    Attributes:
        name: as in `merge_method:`.
        function: operands and parameters to a block formula.
        parameters: by YAML name.
        base: whether a base model is needed, or only made use of where there is one; 'none' means
            that it counts as one of the models.
        min_models: fewest models, not counting a required base.
        max_models: most models, or None.
        symmetric: permuting the models with their parameters changes nothing.
        keeps_identical: identical models (and base) merge to themselves.
        zero_gives_base: all weights zero give the base.
        random: the result depends on the seed and on the models' identities.
        granularity: what a block must hold: any elements, whole rows, or the whole tensor; or
            which of them, as a function of the settled values.
        limits: what a model's values demand of each other; None for nothing.
    """

    name: str
    function: Callable[..., Formula]
    parameters: Mapping[str, ParameterSpec]
    base: Base
    min_models: int
    max_models: int | None
    symmetric: bool
    keeps_identical: bool
    zero_gives_base: bool
    random: bool
    granularity: Grain = "elements"
    limits: Limits | None = None

    @property
    def summary(self) -> str:
        """First line of the method's docstring; empty when it has none."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def settle(self, values: Mapping[str, Any], models: int) -> dict[str, Any]:
        """Complete parameter values with defaults, per-model ones as one value per model.

        Args:
            values: by YAML or Python name; a per-model parameter may be a single value.
            models: how many models are merged, without a required base.

        Raises:
            ValueError: one line that lists everything wrong with the values.
        """
        given = {name.rstrip("_"): value for name, value in values.items()}
        wrong = [
            f"{self.name} has no parameter {name!r}{suggest(name, sorted(self.parameters))}"
            for name in given
            if name not in self.parameters
        ]
        settled: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            value = given.get(name, parameter.default)
            several = parameter.per_model and isinstance(value, (list, tuple))
            settled[name] = tuple(value) if several else (value,) * models
            wrong += [] if len(settled[name]) == models else [f"{name} needs {models} values"]
            complaints = [parameter.complain(part) for part in settled[name]]
            wrong += [f"{name} is missing"] if value is MISSING else filter(None, complaints)
            settled[name] = settled[name] if parameter.per_model else value
        if not wrong:
            wrong = list(filter(None, map(self.complain_together, self._by_model(settled, models))))
        if wrong:
            raise ValueError("; ".join(dict.fromkeys(wrong)))
        return settled

    def complain_together(self, values: Mapping[str, Any]) -> str:
        """Say which of one model's values does not go with the others; empty when all do.

        Args:
            values: every parameter by YAML name, each good on its own.
        """
        for limit in self.limits(values) if self.limits else ():
            value = values[limit.parameter]
            if not limit.range.holds(value):
                return f"{limit.parameter} must be in {limit.range}, not {value:g}: {limit.reason}"
        return ""

    def reconcile(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Move values of one model that do not go with the others to the nearest that do."""
        found = dict(values)
        for limit in self.limits(found) if self.limits else ():
            found[limit.parameter] = limit.range.clip(found[limit.parameter])
        return found

    def _by_model(self, settled: Mapping[str, Any], models: int) -> list[dict[str, Any]]:
        several = [name for name, parameter in self.parameters.items() if parameter.per_model]
        return [{**settled, **{k: settled[k][i] for k in several}} for i in range(models)]

    def granularity_for(self, values: Mapping[str, Any]) -> Granularity:
        """Return what blocks must hold where the parameters have these settled values."""
        return self.granularity(values) if callable(self.granularity) else self.granularity

    def bind(self, operands: Operands, values: Mapping[str, Any]) -> Formula:
        """Call the method with YAML-named parameter values."""
        operands = replace(operands, granularity=self.granularity_for(values))
        keywords = {k: values[name] for k, name in _keywords(self.function) if name in values}
        return self.function(operands, **keywords)


@cache
def _keywords(function: Callable[..., Formula]) -> tuple[tuple[str, str], ...]:
    """Return a method's keywords and their YAML names; every tensor's merge asks."""
    return tuple((k, k.rstrip("_")) for k in inspect.signature(function).parameters)


METHODS: Registry[MethodSpec] = Registry("merge method", "evomerge.methods")


def merge_method(  # noqa: PLR0913 - a declaration has as many words as it needs
    name: str,
    *,
    base: Base = "none",
    min_models: int = 1,
    max_models: int | None = None,
    symmetric: bool = True,
    keeps_identical: bool = True,
    zero_gives_base: bool = False,
    random: bool = False,
    granularity: Grain = "elements",
    limits: Limits | None = None,
) -> Callable[[Callable[..., Formula]], MethodSpec]:
    """Turn a function into a MethodSpec; arguments as the attributes of MethodSpec."""

    def read(function: Callable[..., Formula]) -> MethodSpec:
        return MethodSpec(
            name, function, read_parameters(function), base, min_models, max_models,
            symmetric, keeps_identical, zero_gives_base, random, granularity, limits=limits,
        )  # fmt: skip

    return read


__all__ = [
    "METHODS",
    "MISSING",
    "Density",
    "Fraction",
    "InGenomes",
    "Limit",
    "Limits",
    "MethodSpec",
    "ParameterSpec",
    "PerModel",
    "Range",
    "Scale",
    "Search",
    "Weight",
    "merge_method",
    "spread",
]
