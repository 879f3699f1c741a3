"""Which rows begin alike, so that their common beginning is computed once."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LEAST = 32
"""Tokens that a shared beginning must save: what a pass of its own costs at least."""
DEEPEST = 32
"""Families within families that are looked at; rows may each begin with the one before."""

Row = tuple[int, ...]


class Family(NamedTuple):
    """Rows with a common beginning.

    Attributes:
        depth: how many tokens they share; 0 where that is not worth a pass of its own.
        members: positions of the rows, ascending.
    """

    depth: int
    members: list[int]


def find_families(rows: Sequence[Row]) -> list[Family]:
    """Divide rows into families such that sharing saves the most tokens.

    A family's beginning leaves every member at least one token of its own. Rows that share nothing
    worth it are one family of depth 0, the first of the answer.
    """
    order = sorted(range(len(rows)), key=rows.__getitem__)
    common = [count_common(rows[a], rows[b]) for a, b in pairwise(order)]
    found = _divide(order, common, DEEPEST)[1] if any(common) else []
    together = {member for family in found for member in family.members}
    alone = [member for member in range(len(rows)) if member not in together]
    return [Family(0, alone), *found]


def count_common(a: Row, b: Row) -> int:
    """Count the tokens that two rows share at their beginning, less than either's length.

    Fewer than LEAST count as none.
    """
    most = min(len(a), len(b)) - 1
    if most < LEAST or a[:LEAST] != b[:LEAST]:
        return 0
    return LEAST + bisect_left(range(LEAST + 1, most + 1), True, key=lambda k: a[:k] != b[:k])


def _divide(order: list[int], common: list[int], levels: int) -> tuple[int, list[Family]]:
    """Return how many tokens are saved, and the families that save them.

    Either all rows share what all have in common, or they part where they have no more than that.
    """
    if not common:
        return 0, []
    depth = min(common)
    whole = len(common) * depth - LEAST
    cuts = [place for place, tokens in enumerate(common) if tokens == depth] if levels else []
    parts = [
        _divide(order[start + 1 : end + 1], common[start + 1 : end], levels - 1)
        for start, end in pairwise([-1, *cuts, len(common)])
        if levels
    ]
    saved = sum(value for value, _ in parts)
    if depth and whole >= saved:
        return whole, [Family(depth, sorted(order))]
    return saved, [family for _, families in parts for family in families]
