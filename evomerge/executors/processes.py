"""Jobs in worker processes on this machine.

Each worker builds its job function once. A worker that dies is replaced and its job tried once
more; a second death is the candidate's failure. One that gives no answer in time is ended, with
all that it started, and its job is not tried again. Of several candidates that are one job one may
be to blame: then each is tried on its own. Workers end when their pipe closes, so none
outlives a killed parent; each has a folder for temporary files, which goes with it. They are plain
interpreters of `worker.py`, so that scripts and notebooks need no `if __name__ == "__main__"`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, ClassVar

from evomerge.errors import EvoMergeException, ExecutorError
from evomerge.executors.base import BEGUN, Executor, divide, failed
from evomerge.executors.session import signal_session
from evomerge.records import Job, JobResult

TRIES = 2
PATIENCE = 5.0
"""Seconds a worker gets to leave before it is killed."""

START = 1800.0
"""Seconds a worker gets to import, to read the items and to load the model, where time counts."""

STDERR = 2
WORKER = "evomerge.executors.worker"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    folder: Path
    job: Job | None = None
    tries: int = 0
    begun: bool = False
    since: float = field(default_factory=time.monotonic)


class ProcessExecutor(Executor):
    """Runs jobs in `workers` spawned processes of `threads` threads each.

    Args:
        target: dotted name of the worker factory.
        setup: what the factory is called with.
        workers: how many jobs run at once.
        threads: threads each worker may use.
        timeout: seconds after which a candidate without an answer has failed; its worker and all
            that it started are ended. A worker's start does not count. A job of n candidates has n
            times as long, and if that is not enough, each of them is tried on its own.
    """

    ends_hanging: ClassVar[bool] = True

    def __init__(
        self,
        target: str,
        setup: Any,
        *,
        workers: int = 1,
        threads: int = 1,
        timeout: float | None = None,
    ) -> None:
        super().__init__(target, setup, workers=workers, threads=threads)
        self.timeout = timeout
        self._workers: list[_Worker] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield results as they finish.

        Raises:
            ExecutorError: a worker cannot be started.
            EvoMergeException: a worker found the setup itself to be wrong.
        """
        queue = deque((job, 1) for job in jobs)
        while len(self._workers) < min(self.workers, len(queue)):
            self._workers.append(self._start())
        while queue or any(worker.job for worker in self._workers):
            for worker in self._workers:
                if queue and worker.job is None:
                    self._give(worker, *queue.popleft())
            yield from self._collect(queue)

    def close(self) -> None:
        """Close the pipes, wait a little, kill what remains."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.terminate()
        for worker in self._workers:
            _bury(worker)
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        folder = _make_folder()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(theirs.fileno()), folder],
                env={**os.environ, **threads, "PYTHONPATH": paths, "TMPDIR": folder},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # what a judge prints must not get between the results
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
            ours.send((self.target, self.setup))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ExecutorError(f"no worker process could be started: {error}") from None
        finally:
            theirs.close()
        return _Worker(process, ours, Path(folder))

    def _give(self, worker: _Worker, job: Job, tries: int) -> None:
        worker.job, worker.tries = job, tries
        worker.begun, worker.since = False, time.monotonic()
        with suppress(OSError):  # it died meanwhile; _collect sees the closed pipe
            worker.pipe.send(job)

    def _collect(self, queue: deque[tuple[Job, int]]) -> Iterator[JobResult]:
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        for pipe in wait(list(busy), self._rest(busy.values())):
            worker = busy.pop(pipe)  # type: ignore[call-overload]  # one of those it was given
            job = worker.job
            assert job is not None
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._replace(worker, job, queue)
                continue
            if answer == BEGUN:
                worker.begun, worker.since = True, time.monotonic()
                continue
            worker.job = None
            if isinstance(answer, EvoMergeException):
                raise answer
            yield answer
        for worker in busy.values():
            if self._rest([worker]) == 0:
                yield from self._give_up(worker, queue)

    def _rest(self, workers: Iterable[_Worker]) -> float | None:
        """Return for how many seconds nobody's time is over; None where time does not count."""
        if self.timeout is None:
            return None
        now = time.monotonic()
        ends = []
        for worker in workers:
            count = len(worker.job.cohort) if worker.job else 1
            ends.append(worker.since + (self.timeout * count if worker.begun else START))
        return max(min(ends) - now, 0.0)

    def _give_up(self, worker: _Worker, queue: deque[tuple[Job, int]]) -> Iterator[JobResult]:
        job = worker.job
        assert job is not None
        if not worker.begun:
            raise ExecutorError(
                f"a worker was not ready to begin within {START:g} s",
                "Look at what loads the tasks and the model",
            )
        signal_session(worker.process.pid, signal.SIGTERM)
        worker.pipe.close()
        _bury(worker)
        self._workers[self._workers.index(worker)] = self._start()
        if len(job.cohort) > 1:
            queue.extendleft((part, 1) for part in divide(job))
        else:
            yield failed(job, f"no answer within {self.timeout:g} s")

    def _replace(
        self, worker: _Worker, job: Job, queue: deque[tuple[Job, int]]
    ) -> Iterator[JobResult]:
        worker.pipe.close()
        cause = _death(_bury(worker))
        place = self._workers.index(worker)
        self._workers[place] = self._start()
        if worker.tries < TRIES:
            queue.appendleft((job, worker.tries + 1))
        elif len(job.cohort) > 1:
            queue.extendleft((part, 1) for part in divide(job))
        else:
            yield failed(job, f"its worker died {worker.tries} times ({cause})")


def _make_folder() -> str:
    try:
        return tempfile.mkdtemp(prefix="evomerge-")
    except OSError as error:
        raise ExecutorError(
            f"no folder for temporary files could be made: {error.strerror}",
            "Free some space, or set TMPDIR",
        ) from None


def _bury(worker: _Worker) -> int:
    """Wait a little for a worker to leave, then kill what is left of it and of what it started."""
    with suppress(subprocess.TimeoutExpired):
        worker.process.wait(PATIENCE)
    signal_session(worker.process.pid, signal.SIGKILL)
    code = worker.process.wait()
    shutil.rmtree(worker.folder, ignore_errors=True)
    return code


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"{name}, often the system running out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"
