"""Any command as the judge: JSON in at its standard input, JSON out at its standard output."""

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.judge import Needs, OutsideJudge, show

GRACE = 5.0
"""Seconds a command gets to leave, once it was told to."""


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
        prompt: the field of an item that is generated from.
        max_new_tokens: where an answer ends at the latest.
        stop: strings before which an answer ends.
        needs: 'answers', or 'folder' for a temporary export of the merge.
        metrics: numbers of the answer (`{"accuracy": 0.8}`), where it gives no score per item.
        higher_is_better: direction of the scores.
        timeout: seconds after which the command and all it started are ended.
        cwd: where it runs; the folder of the run file if absent.
        environment: variables besides those of this process; secrets are better inherited.
    """

    def __init__(  # noqa: PLR0913 - what a user may decide about one command
        self,
        command: str | list[str],
        *,
        prompt: str = "prompt",
        max_new_tokens: int = 256,
        stop: str | Sequence[str] = (),
        needs: Needs = "answers",
        metrics: list[str] | None = None,
        higher_is_better: bool = True,
        timeout: float = 600.0,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            stop=stop,
            needs=needs,
            metrics=metrics,
            higher_is_better=higher_is_better,
        )
        if not 0 < timeout <= 1e6:
            raise ValueError("timeout must be a positive number of seconds, at most a million")
        self.words = shlex.split(command) if isinstance(command, str) else list(command)
        self.timeout = timeout
        self.place = Path(cwd or ".").expanduser()
        self.environment = {**os.environ, **(environment or {})}
        _check_program(self.words, self.place, self.environment)
        self.identity = _hash_files(self.words, self.place)

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
