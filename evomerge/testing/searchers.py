"""The conformance suite of searchers: what a search run relies on, whoever wrote the searcher.

```python
from evomerge.testing.searchers import check_searcher

check_searcher(MySearcher)
```
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated
from evomerge.search import Searcher

if TYPE_CHECKING:
    from evomerge.types import Genome

Make = Callable[..., Searcher]
DIMENSIONS = (1, 2, 7)
ROUNDS = 4


def check_searcher(make: Make) -> None:
    """Put a searcher through everything a run may do to it.

    Args:
        make: called as make(dimension, seed=seed); a registered searcher class is one.

    Raises:
        AssertionError: saying which promise is broken.
    """
    for dimension in DIMENSIONS:
        check_asks(make, dimension)
        check_replay(make, dimension)
        check_failures(make, dimension)
        check_partial_batch(make, dimension)


def check_asks(make: Make, dimension: int) -> None:
    """As many points as were asked for, inside the unit cube, and counted."""
    searcher = make(dimension, seed=1)
    assert searcher.batch >= 1, "a batch holds at least one genome"
    points = _spend(searcher, ROUNDS)
    assert len(points) == searcher.asked == searcher.told, "every genome is counted once"
    assert len(points) == ROUNDS * searcher.batch, "ask gives as many genomes as it is asked for"
    for point in points:
        assert point.shape == (dimension,), "a genome has one number per gene"
        assert ((point >= 0.0) & (point <= 1.0)).all(), "genomes lie in the unit cube"


def check_replay(make: Make, dimension: int) -> None:
    """Equal seeds and tells give equal asks; no global generator has a say."""
    first = _spend(make(dimension, seed=5), ROUNDS)
    np.random.default_rng().random(3)
    again = _spend(make(dimension, seed=5), ROUNDS)
    same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert same, "a replayed search asks for the same genomes"


def check_failures(make: Make, dimension: int) -> None:
    """A search whose candidates fail goes on, and has no best."""
    searcher = make(dimension, seed=2)
    for _ in range(ROUNDS):
        points = searcher.ask()
        assert np.isfinite(points).all(), "genomes are finite whatever was told"
        searcher.tell([Evaluated(point, (math.nan,), failure="it failed") for point in points])
    assert searcher.best is None, "a failed candidate is never the best"


def check_partial_batch(make: Make, dimension: int) -> None:
    """The budget may end within a batch; recommendations lie in the unit cube."""
    searcher = make(dimension, seed=3)
    _spend(searcher, 1)
    points = searcher.ask(1)
    searcher.tell(_judge(points))
    assert len(points) == 1, "ask(1) gives one genome"
    for point in searcher.recommend():
        assert point.shape == (dimension,), "a recommendation has one number per gene"
        assert ((point >= 0.0) & (point <= 1.0)).all(), "recommendations lie in the unit cube"


def _spend(searcher: Searcher, rounds: int) -> "list[Genome]":
    points: list[Genome] = []
    for _ in range(rounds):
        batch = searcher.ask()
        searcher.tell(_judge(batch))
        points += batch
    return points


def _judge(points: "Sequence[Genome]") -> list[Evaluated]:
    return [Evaluated(point, (-float(((point - 0.7) ** 2).sum()),)) for point in points]
