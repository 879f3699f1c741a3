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
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as read_hints

from evomerge.registry import Registry, suggest
from evomerge.tensor_ops.blocks import Formula, Operands

T = TypeVar("T")
Base = Literal["required", "none"]
MISSING = inspect.Parameter.empty


class PerModel(Sequence[T], Generic[T]):
    """Marks a parameter that has one value per model, in the models' order."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values a number may take: [low, high], without `low` itself when `open_low`."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether `value` is finite and inside."""
        above = value > self.low if self.open_low else value >= self.low
        return math.isfinite(value) and above and value <= self.high

    def __str__(self) -> str:
        left = "(" if self.open_low or math.isinf(self.low) else "["
        return f"{left}{self.low:g}, {self.high:g}{')' if math.isinf(self.high) else ']'}"


@dataclass(frozen=True, slots=True)
class Search:
    """The closed range in which a gene for this parameter is sought by default."""

    low: float
    high: float


Weight = Annotated[float, Range(), Search(0.0, 1.0)]
Density = Annotated[float, Range(0.0, 1.0, open_low=True), Search(0.05, 1.0)]
Fraction = Annotated[float, Range(0.0, 1.0), Search(0.0, 1.0)]
Scale = Annotated[float, Range()]


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter of a method.

    Attributes:
        name: as in YAML.
        kinds: accepted Python types.
        per_model: whether each model has its own value.
        default: value when absent; MISSING when it must be given.
        range: bounds of a number; None for other kinds.
        search: default range of its gene; None when it is not searched.
        choices: accepted strings; empty when strings are not accepted.
    """

    name: str
    kinds: tuple[type, ...]
    per_model: bool
    default: Any
    range: Range | None
    search: Search | None
    choices: tuple[str, ...]

    def complain(self, value: object) -> str:
        """Say what is wrong with `value`; empty when nothing is."""
        if value is None and self.default is None:
            return ""
        if isinstance(value, bool):
            return "" if bool in self.kinds else f"{self.name} must be a number, not {value}"
        if isinstance(value, (int, float)):
            return self._complain_number(float(value))
        if isinstance(value, str) and value in self.choices:
            return ""
        return f"{self.name} must be {self._expected()}, not {value!r}"

    def _complain_number(self, value: float) -> str:
        if bool in self.kinds and value in (0.0, 1.0):
            return ""  # mergekit-evolve writes `normalize: 1.0`
        if self.range is None or float not in self.kinds:
            return f"{self.name} must be {self._expected()}, not {value:g}"
        return "" if self.range.holds(value) else f"{self.name} must be in {self.range}: {value:g}"

    def _expected(self) -> str:
        kinds = ["true or false"] * (bool in self.kinds) + ["a number"] * (float in self.kinds)
        return " or ".join(kinds + [repr(choice) for choice in self.choices])


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A merge method: its function and all that follows from its declaration.

    Attributes:
        name: as in `merge_method:`.
        function: operands and parameters to a block formula.
        parameters: by YAML name.
        base: whether a base model is needed; 'none' means it counts as one of the models.
        min_models: fewest models, not counting a required base.
        max_models: most models, or None.
        symmetric: permuting the models with their parameters changes nothing.
        keeps_identical: identical models (and base) merge to themselves.
        zero_gives_base: all weights zero give the base.
        random: the result depends on the seed and on the models' identities.
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
        if wrong:
            raise ValueError("; ".join(dict.fromkeys(wrong)))
        return settled

    def bind(self, operands: Operands, values: Mapping[str, Any]) -> Formula:
        """Call the method with YAML-named parameter values."""
        keywords = inspect.signature(self.function).parameters
        return self.function(
            operands, **{k: values[k.rstrip("_")] for k in keywords if k.rstrip("_") in values}
        )


METHODS: Registry[MethodSpec] = Registry("merge method", "evomerge.methods")


def merge_method(
    name: str,
    *,
    base: Base = "none",
    min_models: int = 1,
    max_models: int | None = None,
    symmetric: bool = True,
    keeps_identical: bool = True,
    zero_gives_base: bool = False,
    random: bool = False,
) -> Callable[[Callable[..., Formula]], MethodSpec]:
    """Turn a function into a MethodSpec; arguments as the attributes of MethodSpec."""

    def read(function: Callable[..., Formula]) -> MethodSpec:
        return MethodSpec(
            name, function, _read_parameters(function), base, min_models, max_models,
            symmetric, keeps_identical, zero_gives_base, random,
        )  # fmt: skip

    return read


def _read_parameters(function: Callable[..., Formula]) -> dict[str, ParameterSpec]:
    hints = read_hints(function, include_extras=True)
    keywords = inspect.signature(function).parameters.values()
    specs = [
        _read_parameter(p.name.rstrip("_"), hints[p.name], p.default)
        for p in keywords
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    return {spec.name: spec for spec in specs}


def _read_parameter(name: str, hint: Any, default: Any) -> ParameterSpec:
    per_model = get_origin(hint) is PerModel
    hint = get_args(hint)[0] if per_model else hint
    notes: list[Any] = []
    kinds: list[type] = []
    choices: list[str] = []
    for part in _flatten(hint):
        if get_origin(part) is Annotated:
            kinds.append(get_args(part)[0])
            notes.extend(part.__metadata__)
        elif get_origin(part) is Literal:
            choices.extend(get_args(part))
        elif part is not types.NoneType:
            kinds.append(part)
    if float in kinds and not any(isinstance(n, Range) for n in notes):
        notes.append(Range())
    bounds = next((n for n in notes if isinstance(n, Range)), None)
    search = next((n for n in notes if isinstance(n, Search)), None)
    return ParameterSpec(name, tuple(kinds), per_model, default, bounds, search, tuple(choices))


def _flatten(hint: Any) -> list[Any]:
    union = get_origin(hint) in (Union, types.UnionType)
    return [part for arg in get_args(hint) for part in _flatten(arg)] if union else [hint]
