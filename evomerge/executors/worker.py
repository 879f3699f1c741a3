"""A worker process: told once what to build, then does jobs until its pipe closes.

`python -m evomerge.executors.worker FD FOLDER` speaks over the inherited pipe FD and may litter
FOLDER. A thread of its own listens, so that the worker ends when the parent is gone, even in the
middle of a job. SIGTERM is an interrupt: what a judge opened is closed, then the worker leaves,
and takes along whatever was started in its session.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from evomerge.errors import EvoMergeException
from evomerge.executors.base import BEGUN, Work, failed, make_work
from evomerge.executors.session import signal_session
from evomerge.records import Job

GRACE = 5.0
"""Seconds a judge gets to clean up."""

TERMINATED = 128 + signal.SIGTERM


def serve(pipe: Connection, leave: Callable[[], None]) -> None:
    """Build the job function at the first job; answer every job with its result."""
    target, setup = pipe.recv()
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs, leave), daemon=True).start()
    work: Work | None = None
    myself = os.getpid()
    while True:
        job = jobs.get()
        try:
            work = work or make_work(target, setup)
            _prepare(work, job)
            pipe.send(BEGUN)
            answer: Any = work(job)
        except EvoMergeException as error:
            answer = EvoMergeException(error.what, error.hint)
        except KeyboardInterrupt:
            if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
                raise  # this process was told to leave
            answer = failed(job, "KeyboardInterrupt, which nobody but the judge can have raised")
        if os.getpid() != myself:
            os._exit(0)  # a judge has forked and lets its child return: one answer is enough
        pipe.send(answer)


def _prepare(work: Work, job: Job) -> None:
    """Let the work do what is no candidate's doing, if it has a method for that."""
    with suppress(Exception):  # what is wrong with a candidate will be told as its result
        getattr(work, "prepare", lambda _: None)(job)


def _listen(pipe: Connection, jobs: "SimpleQueue[Job]", leave: Callable[[], None]) -> None:
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(GRACE)
        leave()


def _make_leave(folder: Path) -> Callable[[], None]:
    def leave() -> None:
        signal_session(os.getpid(), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(TERMINATED)

    return leave


def _interrupt(*_: object) -> None:
    """Interrupt what the main thread does, once: cleaning up is not interrupted again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(handle: int, folder: Path) -> None:
    """Serve until the pipe closes or SIGTERM comes."""
    signal.signal(signal.SIGTERM, _interrupt)
    leave = _make_leave(folder)
    try:
        serve(Connection(handle), leave)
    except (KeyboardInterrupt, BrokenPipeError):
        leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
