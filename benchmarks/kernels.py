"""Merges of tensors in memory, natively and in torch, beside what the memory can copy.

python benchmarks/kernels.py [--tensors 4] [--repeats 5]

Three bfloat16 models and a base, tensors of 16.8 M parameters; the result goes into a bfloat16
tensor that exists. Each repeat runs copy, native and torch in turn, on one thread and on two (a
tensor each); the best repeat counts. `copy` reads and writes four bytes a parameter; its rate
times four is the machine's limit at that moment, which `share` holds the merge's traffic against:
8 bytes a parameter for linear, 10 with a base, 22 for ties, which reads task vectors once more.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from evomerge.methods import METHODS
from evomerge.tensor_ops import native_library
from evomerge.tensor_ops.blocks import Operands, Scratch, gather

SIZE = 1 << 24
MODELS = 3
TRAFFIC = {"copy": 4, "linear": 8, "task_arithmetic": 10, "ties": 22, "dare_linear": 10}
"""Bytes a parameter, read and written, at the least."""

VALUES = {
    "task_arithmetic": {"weight": 0.4},
    "ties": {"weight": 1.0, "density": 0.2},
    "dare_linear": {"weight": 0.4, "density": 0.5, "rescale": "paper"},
    "linear": {"weight": 0.3},
}
"""Parameters of what is measured."""


@dataclass(frozen=True)
class Task:
    """One tensor's merge, and where it goes."""

    operands: Operands
    out: Tensor


def make_task(seed: int) -> Task:
    """Return random tensors of a base and of models near it."""
    generator = torch.Generator().manual_seed(seed)

    def draw(spread: float) -> Tensor:
        return torch.empty(SIZE).normal_(generator=generator).mul_(spread)

    base = draw(0.02)
    models = [(base + draw(0.002)).to(torch.bfloat16) for _ in range(MODELS)]
    base = base.to(torch.bfloat16)
    return Task(gather(models, base, scratch=Scratch()), torch.zeros_like(base))


def merge(task: Task, method: str) -> None:
    """Carry out one merge: natively where EVOMERGE_KERNELS allows it, else block by block."""
    spec, operands = METHODS.get(method), task.operands
    if spec.base == "none":
        operands = replace(operands, base=None)
    formula = spec.bind(operands, spec.settle(VALUES[method], len(operands.models)))
    write = getattr(formula, "write", None)
    if write is None or write(operands.view(0, SIZE), task.out) is None:
        for block in operands.walk():
            result = formula(block)
            task.out[block.start : block.start + len(result)].copy_(result)


def copy(task: Task) -> None:
    """Copy one model."""
    task.out.copy_(task.operands.models[0].view(0, SIZE))


def time_run(pool: ThreadPoolExecutor, run: Callable[[Task], None], tasks: list[Task]) -> float:
    """Return seconds for all tasks."""
    start = time.perf_counter()
    list(pool.map(run, tasks))
    return time.perf_counter() - start


def measure(tasks: list[Task], threads: int, repeats: int) -> dict[tuple[str, str], float]:
    """Return the best rate by (method, form), in G parameters/s."""
    best: dict[tuple[str, str], float] = {}
    chosen = os.environ.get(native_library.SWITCH, "")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            for method in TRAFFIC:
                for form in ("native", "torch") if method != "copy" else ("torch",):
                    os.environ[native_library.SWITCH] = chosen if form == "native" else "off"

                    def run(task: Task, method: str = method) -> None:
                        copy(task) if method == "copy" else merge(task, method)

                    rate = SIZE * len(tasks) / time_run(pool, run, tasks) / 1e9
                    best[method, form] = max(best.get((method, form), 0.0), rate)
    os.environ[native_library.SWITCH] = chosen
    return best


def report(rates: dict[tuple[str, str], float], threads: int) -> None:
    """Print one table."""
    limit = rates["copy", "torch"] * TRAFFIC["copy"]
    print(f"\n{threads} thread{'s' if threads > 1 else ''}: copy {limit:.1f} GB/s, read and write")
    print(f"  {'G parameters/s':<18}{'native':>8}{'torch':>8}{'ratio':>8}{'of limit':>10}")
    for method, traffic in list(TRAFFIC.items())[1:]:
        native, plain = rates[method, "native"], rates[method, "torch"]
        share = native * traffic / limit
        print(f"  {method:<18}{native:>8.2f}{plain:>8.2f}{native / plain:>7.1f}x{share:>10.0%}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, default=4, help="of 16.8 M parameters each")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"kernels: {native_library.describe()}")
    tasks = [make_task(seed) for seed in range(chosen.tensors)]
    for threads in (1, 2):
        report(measure(tasks, threads, chosen.repeats), threads)


if __name__ == "__main__":
    main()
