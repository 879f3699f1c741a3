"""Reads rows of tokens into a model, the beginning that they share only once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evomerge.inference.caches import spread
from evomerge.inference.families import Family, Row, find_families
from evomerge.inference.forward import Forward


class Prefix(NamedTuple):
    """A beginning that has been read: how many tokens, and their keys and values."""

    depth: int
    cache: Any


class Page(NamedTuple):
    """Rows that have been read.

    Attributes:
        logits: of the last positions, [rows, keep, vocabulary].
        mask: 1 where a place holds a token, [rows, places]; all rows end together.
        cache: keys and values of all places; None where none was wanted.
    """

    logits: Tensor
    mask: Tensor
    cache: Any


NOTHING = Prefix(0, None)


def divide(forward: Forward, rows: Sequence[Row]) -> list[Family]:
    """Divide rows by the beginning they share, as far as the model's caches allow to share it."""
    if forward.sharing.spreads:
        return find_families(rows)
    return [Family(0, list(range(len(rows))))]


def read_prefix(forward: Forward, tokens: Sequence[int]) -> Prefix:
    """Read what several rows begin with; no tokens are NOTHING."""
    if not tokens:
        return NOTHING
    _, cache = forward(forward.pad_left([tokens]), keep=1, caching=True)
    return Prefix(len(tokens), cache)


def read_rows(
    forward: Forward,
    rows: Sequence[Sequence[int]],
    prefix: Prefix = NOTHING,
    *,
    keep: int = 1,
    caching: bool = True,
) -> Page:
    """Read rows that all begin with `prefix` and go on beyond it.

    A shorter row is filled up with tokens of the prefix, read again, instead of padding: the rows
    end together and have no gaps inside.

    Args:
        forward: the model.
        rows: whole rows, prefix included.
        prefix: what has been read already.
        keep: of how many last positions the logits are wanted; none of them lies in the prefix.
        caching: whether the rows will be continued.
    """
    ids, mask, arrange = lay_out(forward, rows, prefix.depth)
    cache = None if arrange is None else arrange(prefix.cache)
    logits, cache = forward(ids, keep=keep, mask=mask, cache=cache, caching=caching)
    return Page(logits, mask, cache)


def lay_out(
    forward: Forward, rows: Sequence[Sequence[int]], depth: int = 0
) -> tuple[Tensor, Tensor, Callable[[Any], Any] | None]:
    """Return how rows are read behind a beginning that they share.

    Args:
        forward: the model.
        rows: whole rows, the beginning included.
        depth: how many tokens of it have been read already.

    Returns:
        What is left of the rows, filled up with tokens of the beginning, [rows, width]; a mask of
        all places; and what makes their cache of the beginning's, None where there is none.
    """
    lengths = [len(row) for row in rows]
    width = max(lengths) - depth
    ids = forward.pad_left([row[-width:] for row in rows])
    mask = forward.mark_ends(lengths, depth + width)
    if not depth:
        return ids, mask, None
    gaps = torch.tensor([depth + width - n for n in lengths]).to(mask.device)
    return ids, mask, partial(spread, gaps=gaps)
