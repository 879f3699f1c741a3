"""Tensors of a plan, merged side by side by threads: reading, computing and writing overlap.

Every tensor is merged by one thread, so the bits are the same for any number of them.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import torch

from evomerge.checkpoints.writer import Shape
from evomerge.engine.plan import TensorPlan
from evomerge.engine.tensor import Workbench
from evomerge.tensor_ops.memory import keep_freed_memory

MOST = 256
"""Threads; each has buffers of its own, and no machine is faster with more."""


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Interrupted(Exception):  # noqa: N818 - not an error: somebody else has failed or stopped
    """Told to a thread whose work is no longer wanted."""


class Threads:
    """A pool in which each thread has its own buffers.

    Args:
        count: of threads; 1 works in the calling thread.
        make_bench: makes a thread's buffers.
    """

    def __init__(self, count: int, make_bench: Callable[[], Workbench]) -> None:
        keep_freed_memory()
        self._count = max(1, min(count, MOST))
        self._make_bench = make_bench
        self._own = threading.local()
        self._stop = threading.Event()

    def run(
        self, tensors: Sequence[TensorPlan], work: Callable[[TensorPlan, Workbench], None]
    ) -> Iterator[TensorPlan]:
        """Call `work` on each tensor, largest first; yield each that is done.

        Raises:
            Exception: the first that `work` raised; no other tensor is begun, those under way
                end at their next block.
        """
        ordered = sorted(tensors, key=lambda t: -Shape(t.name, t.dtype, t.shape).bytes)
        self._stop.clear()
        with _single_threaded_torch():
            if self._count == 1 or len(ordered) < 2:
                for tensor in ordered:
                    work(tensor, self._bench())
                    yield tensor
                return
            yield from self._run_side_by_side(ordered, work)

    def check(self) -> None:
        """Raise Interrupted when the work is no longer wanted; called between blocks."""
        if self._stop.is_set():
            raise Interrupted

    def _run_side_by_side(
        self, tensors: Sequence[TensorPlan], work: Callable[[TensorPlan, Workbench], None]
    ) -> Iterator[TensorPlan]:
        with ThreadPoolExecutor(self._count, "merge") as pool:
            futures = {pool.submit(lambda t: work(t, self._bench()), t): t for t in tensors}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _bench(self) -> Workbench:
        if not hasattr(self._own, "bench"):
            self._own.bench = self._make_bench()
        bench: Workbench = self._own.bench
        return bench


@contextmanager
def _single_threaded_torch() -> Iterator[None]:
    """Threads of our own and torch's would fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
