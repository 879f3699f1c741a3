"""Whether a model's caches may be shared as they look: tried once, on made-up tokens.

A model may count positions in a way of its own, or keep more than its cache tells. Then sharing
would give other numbers, and is not used. It may even read padding (RWKV does, on the left); then
every row is run alone.
"""

import math
from collections.abc import Sequence

import torch

from evomerge.inference.caches import Sharing
from evomerge.inference.families import LEAST, Row
from evomerge.inference.forward import Forward
from evomerge.inference.scoring import TokenScore, score_tokens

CLOSE = {"float32": 1e-4, "float64": 1e-4}
"""How far apart two ways may be, relative; half precision rounds by percents."""
HALF = 0.03


def prove_sharing(forward: Forward, limit: int) -> bool:
    """Try what the caches promise against plain passes; give up sharing where they differ.

    Args:
        forward: the model; its `sharing` is set.
        limit: most tokens it reads.

    Returns:
        Whether it is settled: broken weights, which give no numbers, tell nothing.
    """
    claimed = forward.sharing
    if claimed == Sharing():
        return True
    requests = make_requests(forward.vocabulary, limit)
    shared = score_tokens(forward, requests)
    forward.sharing = Sharing()
    plain = score_tokens(forward, requests)
    settled = all(math.isfinite(score.log_likelihood) for score in plain)
    if not settled or _agree(forward, shared, plain):
        forward.sharing = claimed
    return settled


def prove_padding(forward: Forward) -> bool:
    """Try whether padding leaves a row's numbers as they are; give up batches where it does not.

    Args:
        forward: the model; its `alone` is set.

    Returns:
        Whether it is settled, as of `prove_sharing`, which tells enough of a model that shares.
    """
    if forward.sharing.branches:
        return True
    row = [token % forward.vocabulary for token in range(11, 16)]
    gap = [forward.pad] * 3
    mask = forward.mark_ends([len(row)], len(row) + len(gap))
    alone = forward(forward.pad_left([row]), keep=1)[0][0, 0]
    after = forward(forward.pad_left([gap + row]), keep=1, mask=mask)[0][0, 0]
    before = forward(forward.pad_left([row + gap]), keep=len(gap) + 1)[0][0, 0]
    settled = bool(alone.isfinite().all())
    close = _closeness(forward)
    forward.alone = settled and not all(
        torch.allclose(padded, alone, rtol=close, atol=10 * close) for padded in (after, before)
    )
    return settled


def make_requests(vocabulary: int, limit: int) -> list[tuple[Row, Row]]:
    """Make requests that share contexts, and contexts that share a beginning, if there is room."""
    tokens = [(7919 * k + 11) % vocabulary for k in range(200)]
    stem = min(LEAST + 2, limit // 2)
    contexts = [tokens[: stem + 3], tokens[:stem] + tokens[60:69], tokens[90:97], tokens[100:112]]
    tails = [tokens[120:123], tokens[130:135]]
    room = limit + 1 - max(map(len, tails))
    return [(tuple(context[-room:]), tuple(tail)) for context in contexts for tail in tails]


def _agree(forward: Forward, a: Sequence[TokenScore], b: Sequence[TokenScore]) -> bool:
    close = _closeness(forward)
    return all(
        math.isclose(x.log_likelihood, y.log_likelihood, rel_tol=close, abs_tol=10 * close)
        for x, y in zip(a, b, strict=True)
    )


def _closeness(forward: Forward) -> float:
    return CLOSE.get(str(forward.module.dtype).removeprefix("torch."), HALF)
