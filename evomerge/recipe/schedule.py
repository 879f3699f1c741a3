"""A parameter's value over the layers and tensors of a model: number | gradient | filter list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

Value = float | int | bool | str
EVERYTHING = ("*", None)
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
LARGEST = 10**15
"""Largest whole number in a schedule: all of them are exact in double precision."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Values for tensors whose name contains `filter` (all of them when it is None or '*').

    Several values are a gradient: spread evenly over depth t in [0, 1].
    """

    filter: str | None
    values: tuple[Value, ...]

    def applies(self, tensor: str) -> bool:
        """Tell whether the rule speaks of the tensor called `tensor`."""
        return self.filter in EVERYTHING or (self.filter or "") in tensor

    def at(self, depth: float) -> Value:
        """Value at depth t: of numbers interpolated, of others the last whose place is reached."""
        place = depth * (len(self.values) - 1)
        left = min(int(place), len(self.values) - 1)
        fraction = place - left
        if fraction == 0.0 or not all(map(is_number, self.values)):
            return self.values[left]
        low, high = self.values[left], self.values[left + 1]
        return low + fraction * (high - low)  # type: ignore[operator]  # both are numbers


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rules in order; the first that applies to a tensor gives its value."""

    rules: tuple[Rule, ...]

    def at(self, tensor: str, depth: float) -> Value | None:
        """Return the value for a tensor at depth t in [0, 1], or None where no rule applies."""
        for rule in self.rules:
            if rule.applies(tensor):
                return rule.at(depth)
        return None

    def values(self) -> list[Value]:
        """Return every value written down."""
        return [value for rule in self.rules for value in rule.values]

    def as_flags(self) -> "Schedule":
        """Return the schedule with 0 and 1 read as false and true."""
        return Schedule(tuple(Rule(r.filter, tuple(map(_flag, r.values))) for r in self.rules))

    def to_document(self) -> Any:
        """Return the shortest YAML form that reads back as this schedule."""
        parts = [_shorten(rule) for rule in self.rules]
        if len(parts) == 1 and self.rules[0].filter is None:
            return parts[0]["value"]
        return parts


def resolve(schedules: Sequence[Schedule], tensor: str, depth: float) -> Value | None:
    """Return the first value that any of the schedules has for a tensor at a depth."""
    for schedule in schedules:
        value = schedule.at(tensor, depth)
        if value is not None:
            return value
    return None


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell a number from a flag, which Python counts among them."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_schedule(raw: Any) -> Schedule:
    """Read a number, a gradient (list of numbers) or a list of {value, filter}.

    Raises:
        ValueError: saying what was expected.
    """
    if isinstance(raw, dict):
        return Schedule((_read_rule(raw),))
    if isinstance(raw, list) and any(isinstance(part, dict) for part in raw):
        return Schedule(tuple(_read_rule(p if isinstance(p, dict) else {"value": p}) for p in raw))
    return Schedule((Rule(None, _read_values(raw)),))


def depth_of(layer: int, layers: int) -> float:
    """Return the depth t in [0, 1] of a slice's layer; a single layer is at the end, t = 1."""
    return layer / (layers - 1) if layers > 1 else 1.0


def constant(value: Value) -> Schedule:
    """Return the schedule that has one value everywhere."""
    return Schedule((Rule(None, (value,)),))


def _read_rule(raw: dict[str, Any]) -> Rule:
    unknown = sorted(set(raw) - {"value", "filter"})
    if unknown or "value" not in raw:
        raise ValueError(f"expected {{value, filter}}, not keys {sorted(map(str, raw))}")
    wanted = raw.get("filter")
    if wanted is not None and not isinstance(wanted, str):
        raise ValueError(f"a filter is part of a tensor's name, not {wanted!r}")
    return Rule(wanted, _read_values(raw["value"]))


def _read_values(raw: Any) -> tuple[Value, ...]:
    values = [_read_number(value) for value in (raw if isinstance(raw, list) else [raw])]
    if not values or not all(isinstance(v, (bool, int, float, str)) for v in values):
        raise ValueError(f"expected a number, a list of numbers, or {{value, filter}}, not {raw!r}")
    if any(isinstance(v, int) and abs(v) > LARGEST for v in values):
        raise ValueError(f"a whole number is beyond {LARGEST:g}")
    return tuple(values)


def _read_number(value: Any) -> Any:
    """Read `5e-1` as YAML 1.2 and mergekit do; YAML 1.1 has it for text."""
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def _flag(value: Value) -> Value:
    return bool(value) if is_number(value) and value in (0, 1) else value


def _shorten(rule: Rule) -> dict[str, Any]:
    value = list(rule.values) if len(rule.values) > 1 else rule.values[0]
    return {"filter": rule.filter, "value": value} if rule.filter is not None else {"value": value}
