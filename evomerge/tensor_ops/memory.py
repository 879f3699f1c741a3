"""Memory that is freed and soon wanted again stays with the process.

glibc gives blocks above some 128 KiB back to the system when they are freed, and the system clears
them anew, page by page, when the next is asked for: that costs about 1 GB/s, and reused memory 40.
"""

import ctypes
from contextlib import suppress

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's names M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, from malloc.h."""

LARGEST = 32 << 20
"""Bytes: blocks up to this size stay with the process (the most that glibc accepts)."""


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed; on other systems nothing happens."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_THRESHOLD, LARGEST)
        libc.mallopt(TRIM_THRESHOLD, 16 * LARGEST)
