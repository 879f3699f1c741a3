"""One candidate's way through its job: what it scored, how long it took, what became of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from evomerge.errors import EvoMergeException, describe
from evomerge.evaluation import Audit
from evomerge.records import Candidate, Job, Outcome


class Attempt:
    """A candidate that is being tried.

    Args:
        candidate: which one.
        job: it is part of.

    Attributes:
        candidate: as given.
        subjects: what evaluators look at, by kind.
        audits: task name -> what looked wrong about its answers.
        scores: task name -> item key -> score, of all items met so far.
        raced_out: its rival was clearly better.
        failure: why it is over; empty while it is not.
        layers: run for it and asked for; of all that are tried with it, told with the first.
        leave: told when it needs no more scores.
    """

    def __init__(self, candidate: Candidate, job: Job) -> None:
        self.candidate = candidate
        self.subjects: dict[str, Any] = {}
        self.audits = {name: Audit() for name in job.items}
        self.scores: dict[str, dict[str, float]] = {name: {} for name in job.items}
        self.raced_out = False
        self.failure = ""
        self.layers = (0, 0)
        self.leave: Callable[[], None] = lambda: None
        self._seconds: dict[str, float] = {}

    @property
    def goes_on(self) -> bool:
        """Tell whether it has neither failed nor been dropped."""
        return not (self.failure or self.raced_out)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time inside as that of a stage; whatever is raised is the candidate's failure.

        What is computed for several candidates at once is the time of whoever asked for it first.
        A user's evaluator may raise anything; only an interrupt goes through.
        """
        start = time.perf_counter()
        try:
            yield
        except EvoMergeException as error:
            self.failure = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.failure = describe(error)
        finally:
            spent = time.perf_counter() - start
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
            if self.failure:
                self.leave()

    def drop(self) -> None:
        """End it here, because its rival is clearly better."""
        self.raced_out = True
        self.leave()

    def outcome(self) -> Outcome:
        """Return what became of it."""
        fingerprint, seconds = self.candidate.fingerprint, self._seconds
        if self.failure:
            return Outcome(fingerprint, seconds=seconds, failure=self.failure, layers=self.layers)
        measures = {name: audit.measures() for name, audit in self.audits.items()}
        audit = {name: found for name, found in measures.items() if found}
        return Outcome(
            fingerprint,
            self.scores,
            seconds,
            raced_out=self.raced_out,
            audit=audit,
            layers=self.layers,
        )
