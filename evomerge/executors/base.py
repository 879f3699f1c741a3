"""The contract of executors: jobs in, results out as they finish, failures included.

An executor imports no pillar. It is told where work is done by the dotted name of a factory,
`package.module:name`: `factory(setup)` is called once per worker and returns what does a job.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from evomerge.records import Job, JobResult, Outcome
from evomerge.registry import Registry

Work = Callable[[Job], JobResult]
"""Does a job. With a method `prepare(job)` it does there what is no candidate's doing."""

BEGUN = "begun"
"""What a worker says when a job is taken up: from here on the candidate's time counts."""


class Executor(ABC):
    """Base of all executors; use as a context manager.

    Args:
        target: dotted name of the worker factory.
        setup: what the factory is called with; must be picklable.
        workers: how many jobs run at once.
        threads: threads each worker may use.

    Attributes:
        ends_hanging: whether it takes a `timeout`, after which a candidate is given up.
    """

    ends_hanging: ClassVar[bool] = False

    def __init__(self, target: str, setup: Any, *, workers: int = 1, threads: int = 1) -> None:
        self.target = target
        self.setup = setup
        self.workers = workers
        self.threads = threads

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result per job, in the order in which they finish."""

    @abstractmethod
    def close(self) -> None:
        """Stop all workers; no process survives."""


EXECUTORS: Registry[type[Executor]] = Registry("executor", "evomerge.executors")


def make_work(target: str, setup: Any) -> Work:
    """Import the factory and make one worker's job function."""
    module, _, name = target.partition(":")
    work: Work = getattr(importlib.import_module(module), name)(setup)
    return work


def divide(job: Job) -> list[Job]:
    """Return a job's candidates as jobs of their own, last first."""
    return [replace(job, cohort=(candidate,)) for candidate in reversed(job.cohort)]


def failed(job: Job, reason: str) -> JobResult:
    """Return the result of a job that could not be done."""
    outcomes = (Outcome(candidate.fingerprint, failure=reason) for candidate in job.cohort)
    return JobResult(job.number, tuple(outcomes))
