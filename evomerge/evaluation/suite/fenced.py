"""The program behind the fence: gives up its rights, runs the code, writes the results.

It is started by the sandbox as a script of its own, reads one JSON document from its input and
writes one to its output. It imports nothing of evomerge.
"""

import bisect
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import heapq
import itertools
import json
import math
import operator
import random
import re
import resource
import signal
import statistics
import string
import sys
import textwrap
import time
import typing

OFFERED = (
    *(bisect, collections, copy, dataclasses, datetime, decimal, enum, fractions, functools),
    *(heapq, itertools, json, math, operator, random, re, statistics, string, textwrap, time),
    typing,
)
"""Modules that are there already when importing further ones is forbidden."""

HARMLESS = frozenset(
    (
        *("builtins.id", "compile", "exec", "object.__delattr__", "object.__getattr__"),
        *("object.__setattr__", "sys._getframe", "sys._getframemodulename"),
    )
)
"""Audited events that computing needs; https://docs.python.org/3/library/audit_events.html."""


def limit(seconds: int, patience: float, memory: int, output: int) -> None:
    """Give up resources, for good; end by the clock even when nobody is left to see to it."""
    signal.setitimer(signal.ITIMER_REAL, patience)
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: output,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def fence(event: str, arguments: object) -> None:
    """Refuse whatever Python audits and computing does not need."""
    del arguments
    if event == "import":
        raise ImportError("nothing more can be imported here")
    if event not in HARMLESS:
        raise PermissionError(f"{event} is not allowed here")


def main() -> None:
    """Read the task, run it, write the results of its calls."""
    task = json.load(sys.stdin)
    results = sys.stdout
    sys.stdin = sys.stdout = sys.stderr = None  # nothing to print to
    program = compile(task["code"], "<answer>", "exec")
    limit(**task["limits"])
    sys.addaudithook(fence)
    names: dict[str, typing.Any] = {"__name__": "answer"}
    exec(program, names)
    function = names[task["function"]]
    found = [function(*arguments) for arguments in task["calls"]]
    results.write(json.dumps(found))
    results.flush()


if __name__ == "__main__":
    main()
