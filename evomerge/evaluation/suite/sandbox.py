"""Where generated code runs: a process of its own that can compute, and hardly anything else.

A fence against what a model writes by accident, not a prison for an attacker. The interpreter is
isolated (`-I`), has an empty folder and no environment, and is the head of a process group that
ends with it. Before it meets the code it gives up time, memory, file size and processes, and
answers every event that Python audits (files, sockets, processes, signals, further imports) with
an error, but for those that computing needs. The expected results stay outside.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError

SECONDS = 2
"""Processor time of one program."""

PATIENCE = 20.0
"""Seconds on the clock after which a program that only sleeps is ended."""

MEMORY = 512 << 20
"""Bytes of address space."""

OUTPUT = 1 << 20
"""Most bytes a program may write, its results included."""

CHILD = Path(__file__).with_name("fenced.py")


def run_calls(code: str, function: str, calls: Sequence[Sequence[Any]]) -> list[Any] | None:
    """Run code, then call a function of it, behind the fence.

    Args:
        code: a Python program.
        function: name it should define.
        calls: arguments of each call; JSON values, as are the results.

    Returns:
        The results in order, or None where the code fails, takes too long, or gives something
        that is not JSON.
    """
    limits = {"seconds": SECONDS, "patience": PATIENCE, "memory": MEMORY, "output": OUTPUT}
    task = {"code": code, "function": function, "calls": calls, "limits": limits}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        written = _run(json.dumps(task).encode(), folder)
    try:
        results = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return results if isinstance(results, list) and len(results) == len(calls) else None


@cache
def require_sandbox() -> None:
    """Check that code can be run within limits here.

    Raises:
        EvaluationError: it cannot.
    """
    if os.name != "posix" or run_calls("def one():\n    return 1\n", "one", [[]]) != [1]:
        raise EvaluationError(
            f"generated code cannot be run within limits on this platform ({sys.platform})",
            "Leave the task coding out",
        )


def _run(task: bytes, folder: str) -> bytes:
    """Return what the child wrote; a file takes it, since only files have a limit of size."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                child.communicate(task, timeout=PATIENCE)
        finally:
            _end_group(child)
        output.seek(0)
        return output.read()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()
