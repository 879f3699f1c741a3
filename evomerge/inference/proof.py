"""Whether a model's caches may be shared as they look: tried once, on made-up tokens.

A model may count positions in a way of its own, or keep more than its cache tells. Then sharing
would give other numbers, and is not used.
"""

import math
from collections.abc import Sequence

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


def make_requests(vocabulary: int, limit: int) -> list[tuple[Row, Row]]:
    """Make requests that share contexts, and contexts that share a beginning, if there is room."""
    tokens = [(7919 * k + 11) % vocabulary for k in range(200)]
    stem = min(LEAST + 2, limit // 2)
    contexts = [tokens[: stem + 3], tokens[:stem] + tokens[60:69], tokens[90:97], tokens[100:112]]
    tails = [tokens[120:123], tokens[130:135]]
    room = limit + 1 - max(map(len, tails))
    return [(tuple(context[-room:]), tuple(tail)) for context in contexts for tail in tails]


def _agree(forward: Forward, a: Sequence[TokenScore], b: Sequence[TokenScore]) -> bool:
    close = CLOSE.get(str(forward.module.dtype).removeprefix("torch."), HALF)
    return all(
        math.isclose(x.log_likelihood, y.log_likelihood, rel_tol=close, abs_tol=10 * close)
        for x, y in zip(a, b, strict=True)
    )
