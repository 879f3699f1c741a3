"""What a search and a language model said to each other: kept line by line, and never asked twice.

Every exchange is one line of JSON, safe on the disk before its answer is used. Who asks the same
questions again, after an interruption or to repeat a search, finds the answers there, failures
among them.
"""

import json
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from evomerge.errors import EndpointError, EvoMergeException, StoreError
from evomerge.types import Ask, Message

T = TypeVar("T")
Exchange: TypeAlias = dict[str, Any]
"""'messages', 'answer' (None where there was none), 'accepted', 'why' not, 'seconds', and what the
model tells of its answer."""
NAMES = "exchanges-*.jsonl"
"""Logs in the folder of a run, one for each part of its search."""


class BadAnswerError(ValueError):
    """An answer that cannot be used: `text` is the answer, the message says why."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(why)
        self.text = text


class Exchanges:
    """A language model whose answers are read, checked, and kept.

    Args:
        ask: the language model; None where only a log answers.
        log: file that every exchange is appended to; what it holds already is not asked again.
        replay: a log, or the folder of a run with its logs, that answers instead of a model;
            nothing is written then.

    Raises:
        ValueError: there is no such log to replay.
        StoreError: a log is damaged.
    """

    def __init__(
        self, ask: Ask | None, *, log: Path | None = None, replay: Path | None = None
    ) -> None:
        self._ask, self._log, self._replay = ask, log, replay
        self._known: dict[str, deque[Exchange]] = defaultdict(deque)
        self._asked = 0
        self._ends_whole = False
        for path in _find_logs(replay) if replay else [log] if log and log.exists() else []:
            for exchange in _read_log(path):
                self._known[_key(exchange["messages"])].append(exchange)

    def ask(self, messages: Sequence[Message], read: Callable[[str], T]) -> T:
        """Return what `read` makes of the answer to a conversation.

        Args:
            messages: the conversation; its last turn is the question.
            read: raises ValueError, saying why, where an answer cannot be used.

        Raises:
            BadAnswerError: the answer cannot be used.
            EndpointError: there is none.
            EvoMergeException: a log is replayed that has no such question.
        """
        self._asked += 1
        known = self._known[_key(messages)]
        if known:
            return _use(known.popleft(), read)
        exchange = self._converse(messages)
        try:
            found = _use(exchange, read)
        except (BadAnswerError, EndpointError) as error:
            self._append({**exchange, "accepted": False, "why": str(error)})
            raise
        self._append({**exchange, "accepted": True, "why": ""})
        return found

    def _converse(self, messages: Sequence[Message]) -> Exchange:
        """Ask the model itself."""
        if self._ask is None:
            raise EvoMergeException(
                f"{self._replay} cannot be replayed here: question {self._asked} of this search "
                "is not in it, so the two differ by now",
                "Replay it with the run file, the seed and the models that it was made with",
            )
        exchange: Exchange = {"messages": list(messages), "answer": None, "why": ""}
        begin = time.monotonic()
        try:
            exchange["answer"], told = self._ask(messages)
        except EndpointError as error:
            told = {}
            exchange["why"] = str(error)
        return {**exchange, **told, "seconds": round(time.monotonic() - begin, 3)}

    def _append(self, exchange: Exchange) -> None:
        """Put an exchange on the disk for good; a line that was torn before it is cut off."""
        if self._log is None:
            return
        line = json.dumps(exchange) + "\n"
        with self._log.open("ab") as file:
            if not self._ends_whole:
                file.truncate(_whole_lines(self._log))
            self._ends_whole = False  # until this line is there
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._ends_whole = True


def _use(exchange: Exchange, read: Callable[[str], T]) -> T:
    """Return what is read from an answer."""
    answer = exchange["answer"]
    if answer is None:
        raise EndpointError(exchange["why"])
    try:
        return read(answer)
    except ValueError as error:
        raise BadAnswerError(answer, str(error)) from None


def _key(messages: Sequence[Message]) -> str:
    return json.dumps(list(messages), sort_keys=True)


def _find_logs(replay: Path) -> list[Path]:
    """Return a log, or those in the folder of a run."""
    logs = sorted(replay.glob(NAMES)) if replay.is_dir() else [replay]
    if not logs or not logs[0].is_file():
        raise ValueError(f"replay: there is no log of exchanges at {replay}")
    return logs


def _read_log(path: Path) -> Iterator[Exchange]:
    """Yield the exchanges of a log; a last line that was torn never happened."""
    whole = path.read_bytes()[: _whole_lines(path)]
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            exchange = json.loads(line)
            sound = {"messages", "why"} < exchange.keys()
            sound = sound and isinstance(exchange["answer"], str | None)
        except (ValueError, AttributeError, KeyError):
            sound = False
        if not sound:
            raise StoreError(
                f"line {number} of {path} is no exchange with a language model",
                "Restore the file, or move it away",
            )
        yield exchange


def _whole_lines(path: Path) -> int:
    """Return the bytes of a file up to the end of its last whole line."""
    return path.read_bytes().rfind(b"\n") + 1
