"""Executors run jobs: the table of contents. One place to run, one file, one line here."""

from evomerge.executors.base import EXECUTORS, Executor
from evomerge.executors.local import LocalExecutor
from evomerge.executors.processes import ProcessExecutor

EXECUTORS.register("local", LocalExecutor)
EXECUTORS.register("processes", ProcessExecutor)

__all__ = ["EXECUTORS", "Executor"]
