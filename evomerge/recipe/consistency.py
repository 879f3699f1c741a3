"""Values that are good one by one and not together: weights that cancel, limits that clash."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evomerge.methods import MethodSpec
from evomerge.recipe.schedule import EVERYTHING, Schedule, is_number, resolve

Scopes = Sequence[Schedule]
"""The schedules that may give one parameter, most specific first."""

UNFILTERED = "\0"
"""Stands for a tensor whose name matches no filter."""

NOTHING = 1e-8
"""A sum of weights this small, relative to the sum of their sizes, is rounding noise."""


def find_cancelling(weights: Sequence[Scopes], flags: Scopes, default: bool) -> str | None:
    """Find where weights that are to be normalized sum to zero.

    Between two places of a gradient a sum is linear: where its sign changes, it is zero.

    Args:
        weights: of each model.
        flags: whether they are normalized.
        default: whether they are where the flags leave it open.

    Returns:
        Where that is (' at depth 0.5'), empty for everywhere; None where it is nowhere.
    """
    names, depths = _places([*weights, flags])
    for name in names:
        depth = _first_zero(weights, flags, default, name, depths)
        if depth is not None:
            return _tell(name, depth, depths)
    return None


def find_clash(spec: MethodSpec, scopes: Mapping[str, Scopes]) -> str | None:
    """Find where one model's values do not go together.

    Args:
        spec: the method.
        scopes: by parameter name, as they count for that model.

    Returns:
        What clashes and where; None where nothing does.
    """
    if spec.limits is None:
        return None
    names, depths = _places(scopes.values())
    for name in names:
        for depth in depths:
            found = {key: resolve(s, name, depth) for key, s in scopes.items()}
            values: dict[str, Any] = {
                key: known.default if found.get(key) is None else found[key]
                for key, known in spec.parameters.items()
            }
            if message := spec.complain_together(values):
                return f"{message}{_tell(name, depth, depths)}"
    return None


def _first_zero(
    weights: Sequence[Scopes], flags: Scopes, default: bool, name: str, depths: list[float]
) -> float | None:
    last, before, normalized = 0.0, 0.0, False
    for depth in depths:
        numbers = [w for s in weights if is_number(w := resolve(s, name, depth))]
        total = sum(numbers)
        if normalized and total * before < 0:
            return last + (depth - last) * before / (before - total)
        flag = resolve(flags, name, depth)
        normalized = bool(default if flag is None else flag) and len(numbers) == len(weights)
        if normalized and abs(total) <= NOTHING * sum(map(abs, numbers)):
            return depth
        last, before = depth, total
    return None


def _places(scopes: Iterable[Scopes]) -> tuple[list[str], list[float]]:
    """Return the names and the depths at which values can begin to differ."""
    rules = [rule for schedules in scopes for schedule in schedules for rule in schedule.rules]
    filters = [str(rule.filter) for rule in rules if rule.filter not in EVERYTHING]
    lengths = {len(rule.values) for rule in rules if len(rule.values) > 1}
    depths = {place / (length - 1) for length in lengths for place in range(length)}
    return list(dict.fromkeys([UNFILTERED, *filters])), sorted(depths | {0.0})


def _tell(name: str, depth: float, depths: list[float]) -> str:
    tensors = "" if name == UNFILTERED else f" for {name!r}"
    return tensors + (f" at depth {depth:.3g}" if len(depths) > 1 else "")
