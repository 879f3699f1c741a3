"""The conformance suite of searchers: what a search run relies on, whoever wrote the searcher.

```python
from evomerge.testing.searchers import check_searcher

check_searcher(MySearcher)
```
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Make = Callable[..., Searcher]
Judge = Callable[["Sequence[Genome]"], list[Evaluated]]
SPACES: Mapping[str, SearchSpace] = {
    "one number": SearchSpace([Gene("a", -1.0, 2.0)]),
    "two numbers": SearchSpace([Gene("a"), Gene("b", 0.5, 1.5, start=1.0)]),
    "four numbers": SearchSpace([Gene(f"{k}") for k in range(4)]),
    "choices": SearchSpace([Gene("a", choices=(False, True)), Gene("b", choices=tuple("xyz"))]),
    "switched numbers": SearchSpace(
        [
            Gene("on", choices=(False, True), chances=(0.4, 0.6)),
            Gene("scale", 0.5, 1.5, start=1.0, needs="on"),
            Gene("kind", choices=("", "x", "y"), needs="on"),
            Gene("size", needs="kind"),
            Gene("always"),
        ]
    ),
    "a path": SearchSpace(
        [
            Gene("use 1", choices=(False, True), start=True, chances=(0.02, 0.98)),
            Gene("use 2", choices=(False, True), start=False, chances=(0.84, 0.16)),
            Gene("scale 0", 0.5, 1.5, start=1.0),
            *(
                Gene(
                    f"scale {k}",
                    choices=(0.8, 1.0, 1.25),
                    start=1.0,
                    chances=(0.1, 0.8, 0.1),
                    needs=f"use {k}",
                )
                for k in (1, 2)
            ),
        ]
    ),
}
ROUNDS = 4


def check_searcher(make: Make) -> None:
    """Put a searcher through everything a run may do to it, in spaces of every kind.

    Args:
        make: called as make(space, seed=seed); a registered searcher class is one.

    Raises:
        AssertionError: saying which promise is broken.
    """
    for space in SPACES.values():
        check_asks(make, space)
        check_replay(make, space)
        check_failures(make, space)
        check_partial_batch(make, space)
        check_global_generators(make, space)


def check_asks(make: Make, space: SearchSpace) -> None:
    """As many points as were asked for, settled in the unit cube, and counted."""
    searcher = make(space, seed=1)
    assert searcher.batch >= 1, "a batch holds at least one genome"
    points = _spend(searcher, ROUNDS)
    assert len(points) == searcher.asked == searcher.told, "every genome is counted once"
    assert len(points) == ROUNDS * searcher.batch, "ask gives as many genomes as it is asked for"
    for point in points:
        assert np.array_equal(space.settle(point), point), "what decodes alike is an equal genome"


def check_replay(make: Make, space: SearchSpace) -> None:
    """Equal seeds and tells give equal asks, whatever is told: so a run resumes."""
    for judge in (_judge, _judge_hard):
        first = _spend(make(space, seed=5), ROUNDS, judge)
        again = _spend(make(space, seed=5), ROUNDS, judge)
        same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert same, "a replayed search asks for the same genomes"


def check_failures(make: Make, space: SearchSpace) -> None:
    """A search whose candidates fail goes on, and has no best."""
    searcher = make(space, seed=2)
    for _ in range(ROUNDS):
        points = searcher.ask()
        assert np.isfinite(points).all(), "genomes are finite whatever was told"
        searcher.tell([Evaluated(point, (math.nan,), failure="it failed") for point in points])
    assert searcher.best is None, "a failed candidate is never the best"
    first, *others = searcher.ask(max(2, searcher.batch))
    told = [Evaluated(first, (9.0,), failure="it failed"), *_judge(others)]
    searcher.tell(told)
    assert searcher.best in told[1:], "a failed candidate is never the best"


def check_partial_batch(make: Make, space: SearchSpace) -> None:
    """The budget may end within a batch; recommendations lie in the unit cube."""
    searcher = make(space, seed=3)
    _spend(searcher, 1)
    points = searcher.ask(1)
    searcher.tell(_judge(points))
    assert len(points) == 1, "ask(1) gives one genome"
    for point in searcher.recommend():
        assert point.shape == (len(space),), "a recommendation has one number per gene"
        assert ((point >= 0.0) & (point <= 1.0)).all(), "recommendations lie in the unit cube"


def check_global_generators(make: Make, space: SearchSpace) -> None:
    """No generator of the process is read or written: others draw from them, too."""
    mine, theirs = random.getstate(), np.random.get_state()  # noqa: NPY002 - nobody may touch it
    try:
        asked = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - likewise
            before = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - likewise
            asked.append([point.tobytes() for point in _spend(make(space, seed=4), 2)])
            after = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - likewise
            assert after == before, "no global generator is drawn from or seeded"
        assert asked[0] == asked[1], "no global generator has a say"
    finally:
        random.setstate(mine)
        np.random.set_state(theirs)  # noqa: NPY002 - likewise


def _spend(searcher: Searcher, rounds: int, judge: Judge | None = None) -> "list[Genome]":
    points: list[Genome] = []
    for _ in range(rounds):
        batch = searcher.ask()
        searcher.tell((judge or _judge)(batch))
        points += batch
    return points


def _judge(points: "Sequence[Genome]") -> list[Evaluated]:
    return [Evaluated(point, (-float(((point - 0.7) ** 2).sum()),)) for point in points]


def _judge_hard(points: "Sequence[Genome]") -> list[Evaluated]:
    """Fail some, drop some, and give others no number."""
    told = []
    for k, plain in enumerate(_judge(points)):
        changes: list[dict[str, Any]] = [
            {},
            {"failure": "it failed"},
            {"raced_out": True},
            {"objectives": (math.nan,)},
        ]
        told.append(replace(plain, **changes[k % len(changes)]))
    return told
