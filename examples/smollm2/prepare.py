"""Prepares SmolLM2-135M-Instruct and three specialists of it, on a CPU and without a model hub.

    python examples/smollm2/prepare.py OUT             # OUT/base, OUT/tasks, OUT/intent, ...
    python examples/smollm2/prepare.py OUT --measure   # prints a cross table as Markdown

May be interrupted at any time: the same command goes on with the parts that are missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from cross_table import measure
from files import PreparationError, console
from gguf_model import prepare_base
from lora import prepare_specialist
from tasks import TASKS, prepare_tasks
from transformers.utils import logging

RUN_FILE = "evolve.yml"


def main() -> int:
    """Runs what the command line asks for; returns the exit status."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        measure_all(arguments.out) if arguments.measure else prepare(arguments.out)
    except (PreparationError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted: the same command goes on with the parts that are missing")
        return 130
    return 0


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder everything is written to")
    parser.add_argument("--measure", action="store_true", help="print the cross table instead")
    return parser.parse_args()


def prepare(out: Path) -> None:
    """Writes all parts that are missing, and says what each cost."""
    timed("base", prepare_base, out)
    timed("tasks", prepare_tasks, out)
    for task in TASKS:
        timed(task, prepare_specialist, out, task)
    shutil.copyfile(Path(__file__).with_name(RUN_FILE), out / RUN_FILE)
    console.print(f"now: evomerge evolve {out / RUN_FILE}")


def timed(name: str, step: Callable[..., None], *arguments: object) -> None:
    """Carries out a step and prints the CPU time it took."""
    start = time.process_time()
    step(*arguments)
    console.print(f"{name:<12} done, {time.process_time() - start:.0f} CPU seconds")


def measure_all(out: Path) -> None:
    """Prints the cross table of a prepared folder."""
    missing = [name for name in ("base", "tasks", *TASKS) if not (out / name).exists()]
    if missing:
        raise PreparationError(
            f"{out} lacks {', '.join(missing)}: run the command without --measure first"
        )
    print(measure(out))


if __name__ == "__main__":
    sys.exit(main())
