"""What shares a batch: decided by the requests alone, never by timing."""

import math
from collections.abc import Iterator, Sequence

BATCH_TOKENS = 8192
"""Most tokens of a batch, padding and what is cached included."""
BATCH_LOGITS = 1 << 25
"""Most logits of a batch (rows × positions × vocabulary): 128 MiB of float32."""
PADDING = 64
"""Most padding of a batch: a further batch costs about as much as so many tokens."""


def pack(
    widths: Sequence[int],
    costs: Sequence[int] | None = None,
    *,
    padding: int | None = None,
    even: float = math.inf,
) -> Iterator[list[int]]:
    """Divide rows into batches of like width, the narrowest first.

    Args:
        widths: tokens of each row that are computed.
        costs: tokens of memory of each row, at least its width; default: the width. A batch's rows
            times its dearest row stay within BATCH_TOKENS, unless it is a single row.
        padding: most tokens of padding in a batch; default PADDING.
        even: rows wider than that are not padded, and pad none.

    Yields:
        Positions of a batch's rows.
    """
    costs = widths if costs is None else costs
    padding = PADDING if padding is None else padding
    batch: list[int] = []
    dearest = wasted = 0
    for row in sorted(range(len(widths)), key=lambda row: (widths[row], costs[row])):
        wider = widths[row] - widths[batch[-1]] if batch else 0
        wasted, dearest = wasted + wider * len(batch), max(dearest, costs[row])
        uneven = wider > 0 and widths[row] > even
        if batch and (uneven or (len(batch) + 1) * dearest > BATCH_TOKENS or wasted > padding):
            yield batch
            batch, dearest, wasted = [], costs[row], 0
        batch.append(row)
    if batch:
        yield batch


def weigh_logits(positions: int, vocabulary: int) -> int:
    """Return how many tokens of BATCH_TOKENS so many positions' logits count for."""
    return positions * vocabulary * BATCH_TOKENS // BATCH_LOGITS
