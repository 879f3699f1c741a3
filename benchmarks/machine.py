"""What the machine gives: the speed of memory, page cache and disk, and what a process takes."""

import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PIECE = 1 << 22
"""Bytes read or written at a time, from a buffer that is reused."""
COPIED = 1 << 28
SAMPLING = 0.02
REPEATS = 3
"""Every limit is measured so often; the best counts."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run took: seconds of wall clock and of all its CPUs, peak anonymous bytes."""

    wall: float
    cpu: float
    anonymous: int
    code: int


def run(command: Sequence[str], *, log: Path, patience: float, folder: Path | None = None) -> Usage:
    """Run a command in a process of its own, its output into `log`, and watch its memory.

    A command that takes longer than `patience` seconds is ended; its code is not 0 then.
    """
    with log.open("wb") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, cwd=folder)
        watcher = _Watcher(process.pid)
        killer = threading.Timer(patience, process.kill)
        watcher.start()
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    killer.cancel()
    watcher.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(wall, used.ru_utime + used.ru_stime, watcher.peak, process.returncode)


class _Watcher(threading.Thread):
    """Adds up the anonymous (and shared) memory of a process and its children, and keeps the peak.

    Pages of files that a process has mapped are the page cache's and do not count.
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = process
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLING):
            self.peak = max(self.peak, _anonymous(self._process))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _anonymous(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has just ended
        return 0
    own = sum(int(kb) for kb in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", status))
    return 1024 * own + sum(_anonymous(int(child)) for child in children)


def measure_limits(files: Sequence[Path], scratch: Path, size: int) -> dict[str, float]:
    """Return bytes per second of copying memory, reading the page cache, and writing a file.

    Args:
        files: to be read; they are in the page cache.
        scratch: a file to be written, of `size` bytes, and removed.
        size: bytes.
    """
    limits: dict[str, float] = {}
    for threads in (1, 2):
        limits[f"copy, {threads}"] = _best(lambda n=threads: _copy(n))
        limits[f"read, {threads}"] = _best(lambda n=threads: _read(files, n))
        limits[f"write, {threads}"] = _best(lambda n=threads: _write(scratch, size, n, sync=False))
        limits[f"write and fsync, {threads}"] = _best(
            lambda n=threads: _write(scratch, size, n, sync=True)
        )
    return limits


def _best(measure: Callable[[], float]) -> float:
    return max(measure() for _ in range(REPEATS))


def _copy(threads: int) -> float:
    """Return bytes copied per second (each is read once and written once)."""
    share = COPIED // threads
    pairs = [(np.ones(share, np.uint8), np.ones(share, np.uint8)) for _ in range(threads)]

    def work(pair: tuple[np.ndarray, np.ndarray]) -> int:
        for _ in range(4):
            np.copyto(*pair)
        return 4 * share

    return _rate(work, pairs)


def _read(files: Sequence[Path], threads: int) -> float:
    def work(part: Sequence[Path]) -> int:
        buffer, total = bytearray(PIECE), 0
        for file in part:
            handle, place = os.open(file, os.O_RDONLY), 0
            while count := os.preadv(handle, [buffer], place):
                place += count
            os.close(handle)
            total += place
        return total

    return _rate(work, [files[k::threads] for k in range(threads)])


def _write(file: Path, size: int, threads: int, *, sync: bool) -> float:
    file.unlink(missing_ok=True)  # a run that was stopped may have left it
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    share = size // threads // PIECE * PIECE

    def work(first: int) -> int:
        buffer = b"\x5a" * PIECE
        for place in range(first, first + share, PIECE):
            os.pwrite(handle, buffer, place)
        return share

    try:
        start = time.perf_counter()
        os.posix_fallocate(handle, 0, size)
        with ThreadPoolExecutor(threads) as pool:
            total = sum(pool.map(work, [k * share for k in range(threads)]))
        if sync:
            os.fsync(handle)
        return total / (time.perf_counter() - start)
    finally:
        os.close(handle)
        file.unlink()
        os.sync()


def _rate(work: Callable[..., int], parts: Sequence[object]) -> float:
    with ThreadPoolExecutor(len(parts)) as pool:
        start = time.perf_counter()
        total = sum(pool.map(work, parts))
        return total / (time.perf_counter() - start)


def describe() -> str:
    """Return one line about this machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", info)
    flags = re.search(r"flags\s*:\s*(.+)", info)
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    present = [flag for flag in known if flags and f" {flag} " in f" {flags.group(1)} "]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} CPUs ({model.group(1).strip() if model else platform.machine()}; "
        f"{', '.join(present) or 'no vector flags known'}), {memory:.0f} GiB memory, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
