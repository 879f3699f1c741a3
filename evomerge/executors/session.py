"""A process and all that it started, ended together.

A worker leads a session of its own; what a judge starts stays in it, whichever process groups it
makes. So nobody has to be known by name, and only what was started there is ended.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def signal_session(leader: int, request: signal.Signals) -> None:
    """Send a signal to every process of a session but the caller.

    Where there is no /proc to tell who belongs to it, the leader's process group gets it.
    """
    if not (PROC / "self").exists():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, request)
        return
    for process in _members(leader):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, request)


def _members(leader: int) -> Iterator[int]:
    processes = [int(place.name) for place in PROC.iterdir() if place.name.isdigit()]
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            if process != os.getpid() and os.getsid(process) == leader:
                yield process
