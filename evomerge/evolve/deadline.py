"""The time a search may take: wall seconds of its rounds, over all sittings of a run.

Every round leaves its seconds in the store, and only they decide whether another one is asked for.
So a run that is replayed from its store ends its search where it ended before, and however long it
lay still in between costs nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from evomerge.store import RunStore


class Deadline:
    """Tells when a part of a search asks for no more; its first round is always begun.

    Args:
        store: of the run.
        seconds: wall time of all rounds since the search began; None for no limit.
        first: number of the part's first round.
    """

    def __init__(self, store: RunStore, seconds: float | None = None, first: int = 0) -> None:
        self._store = store
        self._seconds = seconds
        self._first = first

    def has_passed(self, round_: int) -> bool:
        """Tell whether the rounds before this one took all the time there is."""
        if self._seconds is None or round_ <= self._first:
            return False
        return self._store.round_seconds(round_) >= self._seconds

    @contextmanager
    def measured(self, round_: int) -> Iterator[None]:
        """Record how long a round takes, be it finished or interrupted."""
        start, finished = time.monotonic(), False
        try:
            yield
            finished = True
        finally:
            self._store.spend(round_, time.monotonic() - start, finished=finished)
