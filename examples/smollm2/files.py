"""Folders that appear finished or not at all, and progress lines."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


class PreparationError(RuntimeError):
    """Something the user can mend; shown as one line, without a traceback."""


@contextmanager
def finished_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target` and renames it to `target` once its files are whole.

    What an interrupted run left behind is thrown away, so that `target` either exists complete or
    is missing. Files become readable for everybody: safetensors writes them for the owner only.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    os.replace(partial, target)


class Progress:
    """Prints how far a count has come, how fast, and how long the rest will take."""

    def __init__(self, name: str, total: int, unit: str, every: float = 5.0) -> None:
        self.name, self.total, self.unit, self.every = name, total, unit, every
        self.done = 0
        self.start = self.printed = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts `count` units more; prints a line every few seconds and at the end."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= self.every or self.done == self.total:
            self.printed = now
            console.print(self._line(now - self.start, note))

    def _line(self, seconds: float, note: str) -> str:
        rate = self.done / max(seconds, 1e-9)
        left = (self.total - self.done) / rate
        return (
            f"{self.name:<12} {self.done:>5}/{self.total} {self.unit}  "
            f"{rate:6.2f} {self.unit}/s  {left:4.0f} s left  {note}"
        ).rstrip()
