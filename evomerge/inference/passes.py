"""What is to be read, before anything is: passes of rows through a model, and what follows each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from evomerge.inference.families import Row
from evomerge.inference.forward import Forward


class Wanted(NamedTuple):
    """Tokens of a request, predicted by a row's logits from a place on."""

    row: int
    place: int
    request: int
    tokens: Row


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """Rows that are read at once.

    Attributes:
        ids: tokens, [rows, width].
        keep: of how many last positions the logits are wanted.
        wanted: what these logits predict; the places are counted among them.
        mask: of the places, those of the pass before included, as `Forward` takes it.
        positions: of the tokens, as `Forward` takes them.
        arrange: turns the cache of the pass before into this one's; None where none is before.
        after: passes that go on where this one ends; they can be asked for once.
    """

    ids: Tensor
    keep: int = 1
    wanted: Sequence[Wanted] = ()
    mask: Tensor | None = None
    positions: Tensor | None = None
    arrange: Callable[[Any], Any] | None = None
    after: Iterable["Pass"] | None = None


Read = tuple[Tensor, Sequence[Wanted]]
"""Logits [rows, keep, vocabulary], and what they predict."""


def follow(forward: Forward, first: Pass, before: Any = None) -> Iterator[Read]:
    """Carry out a pass and all that come after it, one after the other.

    Args:
        forward: the model.
        first: where to begin.
        before: cache of the pass before; it stays as it is.
    """
    cache = None if first.arrange is None else first.arrange(before)
    logits, made = forward(
        first.ids,
        keep=first.keep,
        mask=first.mask,
        positions=first.positions,
        cache=cache,
        caching=first.after is not None,
    )
    if first.wanted:
        yield logits, first.wanted
    del logits  # before others follow
    for later in first.after or ():
        yield from follow(forward, later, made)
