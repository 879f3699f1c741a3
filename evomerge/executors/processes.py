"""Jobs in worker processes on this machine.

Each worker builds its job function once. A worker that dies is replaced and its job tried once
more; a second death is the candidate's failure. Workers end when their pipe closes, so none
outlives a killed parent. They are plain interpreters of `worker.py`, so that scripts and notebooks
need no `if __name__ == "__main__"`.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from evomerge.errors import EvoMergeException, ExecutorError
from evomerge.executors.base import Executor, failed
from evomerge.records import Job, JobResult

TRIES = 2
PATIENCE = 5.0
"""Seconds a worker gets to leave before it is killed."""

STDERR = 2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    job: Job | None = None
    tries: int = 0


class ProcessExecutor(Executor):
    """Runs jobs in `workers` spawned processes of `threads` threads each."""

    def __init__(self, target: str, setup: Any, *, workers: int = 1, threads: int = 1) -> None:
        super().__init__(target, setup, workers=workers, threads=threads)
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
            try:
                worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "evomerge.executors.worker", str(theirs.fileno())],
                env={**os.environ, **threads, "PYTHONPATH": paths},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # what a judge prints must not get between the results
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
            ours.send((self.target, self.setup))
        except OSError as error:
            raise ExecutorError(f"no worker process could be started: {error}") from None
        finally:
            theirs.close()
        return _Worker(process, ours)

    def _give(self, worker: _Worker, job: Job, tries: int) -> None:
        worker.job, worker.tries = job, tries
        with suppress(OSError):  # it died meanwhile; _collect sees the closed pipe
            worker.pipe.send(job)

    def _collect(self, queue: deque[tuple[Job, int]]) -> Iterator[JobResult]:
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]  # wait returns the pipes it was given
            assert worker.job is not None
            job, worker.job = worker.job, None
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._replace(worker, job, queue)
                continue
            if isinstance(answer, EvoMergeException):
                raise answer
            yield answer

    def _replace(
        self, worker: _Worker, job: Job, queue: deque[tuple[Job, int]]
    ) -> Iterator[JobResult]:
        worker.pipe.close()
        cause = _death(worker.process.wait())
        place = self._workers.index(worker)
        self._workers[place] = self._start()
        if worker.tries < TRIES:
            queue.appendleft((job, worker.tries + 1))
        else:
            yield failed(job, f"its worker died {worker.tries} times ({cause})")


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"{name}, often the system running out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"
