"""The parameters of a merge method: bounds, search ranges and defaults, as annotations.

```python
Rank = Annotated[float, Range(1.0, 64.0), Search(2.0, 8.0)]
```
"""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as read_hints

T = TypeVar("T")
MISSING = inspect.Parameter.empty


class PerModel(Sequence[T], Generic[T]):
    """Marks a parameter that has one value per model, in the models' order."""


def spread(value: float | Sequence[float], models: int) -> tuple[float, ...]:
    """Return one value per model: a default that stands for all of them is repeated."""
    return tuple(value) if isinstance(value, Sequence) else (value,) * models


@dataclass(frozen=True, slots=True)
class Range:
    """Values a number may take: [low, high], without an end that is open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether `value` is finite and inside."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def clip(self, value: float, step: float = 1e-6) -> float:
        """Return the value, or the nearest one inside, which is `step` away from an open end."""
        if self.holds(value):
            return value
        high = self.high - step if self.open_high else self.high
        return max(min(value, high), self.low + step if self.open_low else self.low)

    def __str__(self) -> str:
        left = "(" if self.open_low or math.isinf(self.low) else "["
        right = ")" if self.open_high or math.isinf(self.high) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True, slots=True)
class Limit:
    """A narrower range that a parameter has beside the values of others, and why."""

    parameter: str
    range: Range
    reason: str


Limits = Callable[[Mapping[str, Any]], Sequence[Limit]]
"""One model's values, by YAML name, to what they demand of each other."""


@dataclass(frozen=True, slots=True)
class Search:
    """Marks a parameter that is sought by default: a number in [low, high], or every choice.

    Of a number that is `whole`, every whole one is a choice of its own: neighbours of a seed have
    nothing in common with it.
    """

    low: float = 0.0
    high: float = 1.0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class InGenomes:
    """The value that genomes give a parameter nobody fixed, where it is not the default."""

    value: Any


Weight = Annotated[float, Range(), Search(0.0, 1.0)]
Density = Annotated[float, Range(0.0, 1.0), Search(0.05, 1.0)]
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
        in_genomes: value in genomes where neither fixed nor searched; MISSING for the default.
    """

    name: str
    kinds: tuple[type, ...]
    per_model: bool
    default: Any
    range: Range | None
    search: Search | None
    choices: tuple[str, ...]
    in_genomes: Any = MISSING

    @property
    def options(self) -> tuple[bool | str, ...]:
        """Every value that is not a number."""
        return ((False, True) if bool in self.kinds else ()) + self.choices

    @property
    def sought(self) -> str:
        """Where a search looks by default, in words; empty when it does not."""
        if self.search is None:
            return ""
        return f"{self.search.low:g} to {self.search.high:g}" if float in self.kinds else "all"

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


def read_parameters(function: Callable[..., Any]) -> dict[str, ParameterSpec]:
    """Read the keyword parameters off a function's signature, by YAML name."""
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
    parts = _flatten(hint, notes)
    choices = tuple(c for part in parts if get_origin(part) is Literal for c in get_args(part))
    kinds = tuple(p for p in parts if get_origin(p) is not Literal and p is not types.NoneType)
    bounds = _first(notes, Range) or (Range() if float in kinds else None)
    genomes = _first(notes, InGenomes)
    return ParameterSpec(
        name, kinds, per_model, default, bounds, _first(notes, Search), choices,
        genomes.value if genomes else MISSING,
    )  # fmt: skip


def _flatten(hint: Any, notes: list[Any]) -> list[Any]:
    """Return the types of a union, and add what is annotated to `notes`."""
    if get_origin(hint) is Annotated:
        notes.extend(hint.__metadata__)
        return _flatten(get_args(hint)[0], notes)
    union = get_origin(hint) in (Union, types.UnionType)
    return [p for arg in get_args(hint) for p in _flatten(arg, notes)] if union else [hint]


def _first(notes: list[Any], kind: type[T]) -> T | None:
    return next((note for note in notes if isinstance(note, kind)), None)
