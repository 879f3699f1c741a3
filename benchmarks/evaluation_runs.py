"""Whole runs that are run once and kept, and means over them as tables show them."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.config import RunConfig
from evomerge.evolve import evolve, resume
from evomerge.store import FILE, open_store


def change(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """Return a run file that says something else in places."""
    return RunConfig.model_validate({**config.model_dump(exclude_unset=True), **changes})


def run_once(config: RunConfig, runs: Path) -> Path:
    """Run, or go on with what was begun, unless it is done; return the run's folder."""
    folder = runs / config.name
    if not (folder / FILE).exists():
        evolve(config, runs=runs)
    elif not _is_finished(folder):
        resume(config.name, runs=runs)
    return folder


def _is_finished(folder: Path) -> bool:
    with open_store(folder) as store:
        run = store.run()
    return run is not None and run.state == "finished"


def show_mean(values: Iterable[float], form: str = "{:.2f}") -> str:
    """Write a mean and half of its 95 % interval (Student's); of one value there is no interval."""
    found = np.array(list(values))
    mean = form.format(found.mean())
    if len(found) == 1:
        return mean
    half = _student(len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
    return f"{mean} ± {form.format(half)}"


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution (Hill, 1970, to 1 % from 4 on)."""
    z, n = 1.959964, float(freedom)
    first = (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    return z + first + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)


def print_section(run: Callable[[argparse.Namespace], str], title: str) -> None:
    """Print one part's section."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--smollm2", type=Path, help="prepared folder")
    parser.add_argument("--results", type=Path, help="runs are kept beside this file")
    parser.add_argument("--quick", action="store_true")
    print(run(parser.parse_args()))
