"""Which parameters of a method become genes, and over which values they are sought.

Sought are the parameters that declare it, and those that the run file lists under `ranges`:
numbers as [low, high], strings and true or false as the list of choices. Of whole numbers, such as
seeds, each in [low, high] is a choice.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from evomerge.errors import Problem
from evomerge.methods import MethodSpec
from evomerge.methods.spec import MISSING, ParameterSpec
from evomerge.recipe.schedule import Value
from evomerge.registry import suggest
from evomerge.space import Choice, Gene

MOST_WHOLE = 1024
"""Whole numbers among which one is sought: each is a choice with a chance of its own."""
Ranges = Mapping[str, Sequence[Choice]]
INSIDE = 1e-6
"""How far inside its ends a range is tried, too: an end may be an exception."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A parameter that is sought: a number in [low, high], or one of `choices`."""

    parameter: ParameterSpec
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Choice, ...] = ()

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.parameter.name

    def gene(self, name: str) -> Gene:
        """Return a gene for it."""
        return Gene(name, self.low, self.high, self.choices)

    def tries(self) -> tuple[Choice, ...]:
        """Return values at which something may be wrong: choices, or both ends of the range."""
        step = INSIDE * (self.high - self.low)
        return self.choices or (self.low, self.low + step, self.high - step, self.high)


def find_sought(
    spec: MethodSpec, ranges: Ranges, fixed: Mapping[str, Value], *, negative: bool = False
) -> list[Sought]:
    """Return what is sought, in the order in which the method declares it.

    Args:
        spec: the method.
        ranges: by parameter name, free of problems (`check_ranges`).
        fixed: parameters that have a value already.
        negative: whether weights are sought in [-high, high].
    """
    open_ = [p for p in spec.parameters.values() if p.name not in fixed]
    return [_seek(p, ranges, negative) for p in open_ if p.search or p.name in ranges]


def genome_values(spec: MethodSpec, given: Sequence[str]) -> dict[str, Value]:
    """Return the values that genomes give parameters which are neither fixed nor sought."""
    return {
        name: parameter.in_genomes
        for name, parameter in spec.parameters.items()
        if parameter.in_genomes is not MISSING and name not in given
    }


def check_ranges(spec: MethodSpec, ranges: Ranges, fixed: Mapping[str, Value]) -> Iterator[Problem]:
    """Yield what is wrong with `genome.ranges`, each with its YAML path."""
    for name, values in ranges.items():
        parameter = spec.parameters.get(name)
        if parameter is None:
            hint = suggest(name, sorted(spec.parameters))
            message = f"{spec.name} has no parameter {name!r}{hint}"
        elif name in fixed:
            message = f"{name} has a fixed value, too: leave one of them out"
        else:
            message = _complain(parameter, values)
        if message:
            yield Problem(f"genome.ranges.{name}", message)


def check_limits(
    spec: MethodSpec, sought: Sequence[Sought], fixed: Mapping[str, Value]
) -> Iterator[Problem]:
    """Yield a problem where values sought leave no room for one that is not."""
    free = [part.name for part in sought]
    defaults = {n: p.default for n, p in spec.parameters.items() if p.default is not MISSING}
    for values in product(*(part.tries() for part in sought)) if spec.limits else ():
        one = {**defaults, **fixed, **dict(zip(free, values, strict=True))}
        held = {n: v for n, v in spec.reconcile(one).items() if n not in free and v != one[n]}
        if held:
            name = next(iter(held))
            message = spec.complain_together(one)
            yield Problem(f"genome.parameters.{name}", f"{message}; narrow its range, or seek both")
            return


def _seek(parameter: ParameterSpec, ranges: Ranges, negative: bool) -> Sought:
    values = ranges.get(parameter.name)
    if values is None:
        if parameter.options:
            return Sought(parameter, choices=parameter.options)
        assert parameter.search is not None
        low, high = parameter.search.low, parameter.search.high
    elif _are_ends(parameter, values):
        low, high = map(float, values)
    else:
        flags = bool in parameter.kinds and float not in parameter.kinds  # YAML may say 0 and 1
        choices = (v if isinstance(v, str) or not flags else bool(v) for v in values)
        return Sought(parameter, choices=tuple(choices))
    if parameter.search and parameter.search.whole:
        return Sought(parameter, choices=tuple(_whole_numbers(low, high)))
    low = -high if negative and parameter.name == "weight" and low >= 0.0 else low
    return Sought(parameter, low, high)


def _are_ends(parameter: ParameterSpec, values: Sequence[Choice]) -> bool:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    return numbers and float in parameter.kinds


def _complain(parameter: ParameterSpec, values: Sequence[Choice]) -> str:
    if not _are_ends(parameter, values):
        wrong = next(filter(None, map(parameter.complain, values)), "")
        few = "expected at least two different choices" if len(set(values)) < 2 else ""
        return wrong or few
    if len(values) != 2:
        return f"expected [low, high], not {len(values)} numbers"
    low, high = map(float, values)
    bounds = parameter.range
    if not low < high:
        return "low must be < high"
    if bounds is not None and not (bounds.holds(low) and bounds.holds(high)):
        return f"{parameter.name} must stay in {bounds}"
    whole = len(_whole_numbers(low, high)) if parameter.search and parameter.search.whole else 2
    few_or_many = f"expected 2 to {MOST_WHOLE} whole numbers from low to high, not {whole}"
    return "" if 2 <= whole <= MOST_WHOLE else few_or_many


def _whole_numbers(low: float, high: float) -> range:
    return range(math.ceil(low), math.floor(high) + 1)
