"""Jobs in spawned worker processes on this machine.

Each worker builds its job function once. A worker that dies is replaced and its job tried once
more; a second death is the candidate's failure. Workers end when their pipe closes, so none
outlives a killed parent.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from evomerge.errors import EvoMergeException, ExecutorError
from evomerge.executors.base import Executor, failed, make_work
from evomerge.records import Job, JobResult

TRIES = 2
PATIENCE = 5.0
"""Seconds a worker gets to leave before it is killed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None
    tries: int = 0


class ProcessExecutor(Executor):
    """Runs jobs in `workers` spawned processes of `threads` threads each."""

    def __init__(self, target: str, setup: Any, *, workers: int = 1, threads: int = 1) -> None:
        super().__init__(target, setup, workers=workers, threads=threads)
        self._context = multiprocessing.get_context("spawn")
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
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self.target, self.setup, self.threads), daemon=True
        )
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self.threads)))
        try:
            process.start()
        except OSError as error:
            raise ExecutorError(f"no worker process could be started: {error}") from None
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
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
        worker.process.join()
        cause = _death(worker.process.exitcode)
        place = self._workers.index(worker)
        self._workers[place] = self._start()
        if worker.tries < TRIES:
            queue.appendleft((job, worker.tries + 1))
        else:
            yield failed(job, f"its worker died {worker.tries} times ({cause})")


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, often the system running out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


def _serve(pipe: Connection, target: str, setup: Any, threads: int) -> None:
    """Live as a worker: build the job function at the first job, answer until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    work = None
    try:
        while True:
            job = pipe.recv()
            try:
                work = work or make_work(target, setup)
                answer: JobResult | EvoMergeException = work(job)
            except EvoMergeException as error:
                answer = EvoMergeException(error.what, error.hint)
            pipe.send(answer)
    except (EOFError, OSError):
        pass
