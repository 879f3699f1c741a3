"""Jobs one after another, in this process: for notebooks, debugging and one GPU."""

from collections.abc import Iterable, Iterator
from typing import Any

from evomerge.executors.base import Executor, Work, make_work
from evomerge.records import Job, JobResult


class LocalExecutor(Executor):
    """Runs every job in the calling process."""

    def __init__(self, target: str, setup: Any, *, workers: int = 1, threads: int = 1) -> None:
        super().__init__(target, setup, workers=min(workers, 1), threads=threads)
        self._work: Work | None = None

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield results in job order."""
        for job in jobs:
            if self._work is None:
                self._work = make_work(self.target, self.setup)
            yield self._work(job)

    def close(self) -> None:
        """Forget the worker."""
        self._work = None
