"""A worker process: told once what to build, then does jobs until its pipe closes.

`python -m evomerge.executors.worker FD` speaks over the inherited pipe FD. A thread of its own
listens, so that the worker ends at once when the parent is gone, even in the middle of a job.
"""

import os
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from evomerge.errors import EvoMergeException
from evomerge.executors.base import Work, make_work
from evomerge.records import Job


def serve(pipe: Connection) -> None:
    """Build the job function at the first job; answer every job with its result."""
    target, setup = pipe.recv()
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    work: Work | None = None
    while True:
        job = jobs.get()
        try:
            work = work or make_work(target, setup)
            answer: Any = work(job)
        except EvoMergeException as error:
            answer = EvoMergeException(error.what, error.hint)
        pipe.send(answer)


def _listen(pipe: Connection, jobs: "SimpleQueue[Job]") -> None:
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
