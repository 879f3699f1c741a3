"""A parameter's value over the layers and tensors of a model: number | gradient | filter list."""

from dataclasses import dataclass
from typing import Any

Value = float | int | bool | str
EVERYTHING = ("*", None)
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
        """Value at depth t: numbers are interpolated linearly, other values taken nearest."""
        place = depth * (len(self.values) - 1)
        left = min(int(place), len(self.values) - 1)
        right = min(left + 1, len(self.values) - 1)
        fraction = place - left
        low, high = self.values[left], self.values[right]
        if _is_number(low) and _is_number(high):
            return low if fraction == 0.0 else low + fraction * (high - low)  # type: ignore[operator]  # both are numbers
        return high if fraction > 0.5 else low


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

    def to_document(self) -> Any:
        """Return the shortest YAML form that reads back as this schedule."""
        parts = [_shorten(rule) for rule in self.rules]
        if len(parts) == 1 and self.rules[0].filter is None:
            return parts[0]["value"]
        return parts


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
    values = raw if isinstance(raw, list) else [raw]
    if not values or not all(isinstance(v, (bool, int, float, str)) for v in values):
        raise ValueError(f"expected a number, a list of numbers, or {{value, filter}}, not {raw!r}")
    if any(isinstance(v, int) and abs(v) > LARGEST for v in values):
        raise ValueError(f"a whole number is beyond {LARGEST:g}")
    return tuple(values)


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shorten(rule: Rule) -> dict[str, Any]:
    value = list(rule.values) if len(rule.values) > 1 else rule.values[0]
    return {"filter": rule.filter, "value": value} if rule.filter is not None else {"value": value}
