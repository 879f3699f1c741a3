"""Any command as the judge: JSON in at its standard input, JSON out at its standard output."""

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.judge import OutsideJudge, show

GRACE = 5.0
"""Seconds a command gets to leave, once it was told to."""


@dataclass(eq=False, repr=False)
class Command(OutsideJudge):
    """Scores by a command of yours, in any language.

    It is started anew for every merge and gets one JSON document at its standard input, with the
    items and the merge's answers: `{"task": …, "items": [{"key", "fields", "answer"}, …]}`, or,
    with `needs: folder`, no answers but the `"folder"` of the merge on the disk. It prints
    `{"scores": [one number per item]}` (or an object by key) and leaves with exit code 0. No shell
    reads the command. The files that it names are part of its identity: a run is not resumed
    with another judge.

    Args:
        command: program and arguments, as a text or as a list.
        timeout: seconds after which the command and all it started are ended.
        cwd: where it runs; the folder of the run file if absent.
        environment: variables besides those of this process; secrets are better inherited.
    """

    command: str | list[str]
    _: KW_ONLY
    timeout: float = 600.0
    cwd: str | None = None
    environment: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """Find the program and the files that it names."""
        super().__post_init__()
        stated = self.command
        self.words = shlex.split(stated) if isinstance(stated, str) else list(stated)
        self.place = Path(self.cwd or ".").expanduser()
        self.environment = {**os.environ, **(self.environment or {})}
        _check_program(self.words, self.place, self.environment)
        self.identity = _hash_files(self.words, self.place)

    @classmethod
    def resolve_paths(
        cls, options: Mapping[str, Any], resolve: Callable[[str], str]
    ) -> dict[str, Any]:
        """Resolve the folder it runs in: that of the run file, if none is named."""
        return {**options, "cwd": resolve(options.get("cwd") or ".")}

    def _ask(self, task: str, document: bytes) -> bytes:
        name = shlex.join(self.words)
        try:
            process = subprocess.Popen(
                self.words,
                cwd=self.place,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # so that it can be ended together with all it starts
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise EvaluationError(f"task {task}: {name} cannot be started: {reason}") from None
        with process:
            try:
                answer, said = process.communicate(document, self.timeout)
            except subprocess.TimeoutExpired:
                _end_group(process)  # it may have left something behind that holds its output
                raise EvaluationError(
                    f"task {task}: {name} gave no answer within {self.timeout:g} s",
                    "Mend it, or give it a longer `timeout`",
                ) from None
            finally:
                if process.poll() is None:
                    _end_group(process)
        if process.returncode != 0:
            raise EvaluationError(f"task {task}: {name} {_death(process.returncode, said)}")
        return answer


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a command and what it started: politely, then for good."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, request)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _death(code: int, said: bytes) -> str:
    cause = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
    lines = said.decode(errors="replace").strip().splitlines()
    return f"ended with {cause}: {lines[-1].strip()[:200]}" if lines else f"ended with {cause}"


def _check_program(words: Sequence[Any], place: Path, environment: Mapping[str, str]) -> None:
    if not words or not all(isinstance(word, str) for word in words):
        raise ValueError("command must be a program and its arguments")
    if not place.is_dir():
        raise ValueError(f"cwd: there is no folder {place}")
    program = words[0]
    where = str((place / program).absolute()) if os.sep in program else program
    if shutil.which(where, path=environment.get("PATH")) is None:
        raise ValueError(f"there is no program {show(program)} that could be run")


def _hash_files(words: Sequence[str], place: Path) -> str:
    """Hash the contents of every file that a command names."""
    found = hashlib.sha256()
    for word in words:
        with suppress(OSError, ValueError):  # not a path at all
            if (place / word).is_file():
                found.update(hashlib.sha256((place / word).read_bytes()).digest())
    return found.hexdigest()
