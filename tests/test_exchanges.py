"""The log of exchanges: nothing is asked twice, and a torn line is forgotten."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from evomerge.errors import EndpointError, EvoMergeException, StoreError
from evomerge.exchanges import BadAnswerError, Exchanges
from evomerge.types import Message, Reply


def say(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


LINES_OF_NO_EXCHANGE = (
    "{}",
    "[1]",
    "nonsense",
    '{"messages": []}',
    '{"messages": [], "why": "", "answer": [1]}',
)


class Model:
    """Counts how often it is asked; some questions it fails."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, messages: Sequence[Message]) -> Reply:
        self.asked += 1
        if messages[-1]["content"] == "fail":
            raise EndpointError("it is down", "Start it")
        return str(self.asked), {"model": "counter", "usage": {"total_tokens": 3}}


def refuse(answer: str) -> int:
    raise ValueError(f"{answer} is too small")


def test_every_exchange_is_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    exchanges = Exchanges(Model(), log=log)
    assert exchanges.ask(say("a"), int) == 1
    with pytest.raises(BadAnswerError, match="2 is too small") as caught:
        exchanges.ask(say("b"), refuse)
    assert caught.value.text == "2"
    with pytest.raises(EndpointError, match="it is down"):
        exchanges.ask(say("fail"), int)
    good, bad, failed = map(json.loads, log.read_text().splitlines())
    assert good["messages"] == say("a")
    assert (good["answer"], good["accepted"], good["why"]) == ("1", True, "")
    assert (good["model"], good["usage"]) == ("counter", {"total_tokens": 3})
    assert good["seconds"] >= 0
    assert (bad["answer"], bad["accepted"], bad["why"]) == ("2", False, "2 is too small")
    assert (failed["answer"], failed["why"]) == (None, "it is down. Start it")


def test_log_is_plain_text_whatever_was_answered(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    answer = Exchanges(lambda _: ("half \ud83d of it", {}), log=log).ask(say("a"), str)
    assert log.read_text(encoding="ascii")
    assert Exchanges(Model(), log=log).ask(say("a"), str) == answer


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    """Not even what failed; equal questions get their answers in order."""
    log = tmp_path / "log.jsonl"
    first = Exchanges(Model(), log=log)
    assert [first.ask(say(q), int) for q in "aab"] == [1, 2, 3]
    with pytest.raises(EndpointError):
        first.ask(say("fail"), int)
    model = Model()
    again = Exchanges(model, log=log)
    assert [again.ask(say(q), int) for q in "aab"] == [1, 2, 3]
    with pytest.raises(EndpointError, match=r"it is down\. Start it"):
        again.ask(say("fail"), int)
    assert model.asked == 0
    assert again.ask(say("a"), int) == 1
    assert model.asked == 1
    assert len(log.read_text().splitlines()) == 5


def test_line_that_was_torn_is_asked_again(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    first = Exchanges(Model(), log=log)
    first.ask(say("a"), int)
    first.ask(say("é"), int)
    whole = log.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        log.write_bytes(whole[:cut])
        model = Model()
        again = Exchanges(model, log=log)
        assert [again.ask(say(q), int) for q in "aé"] == [1, 1]
        assert model.asked == 1
        assert len([json.loads(line) for line in log.read_text().splitlines()]) == 2


def test_log_is_read_once_however_many_lines_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    Exchanges(Model(), log=log).ask(say("a"), int)
    log.write_bytes(log.read_bytes() + b"torn")
    exchanges = Exchanges(Model(), log=log)
    read, reads = Path.read_bytes, []

    def count(path: Path) -> bytes:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", count)
    for question in "bcdef":
        exchanges.ask(say(question), int)
    assert len(reads) == 1
    assert [json.loads(line)["messages"] for line in log.read_text().splitlines()] == [
        say(question) for question in "abcdef"
    ]


def test_log_answers_in_the_place_of_a_model(tmp_path: Path) -> None:
    log = tmp_path / "exchanges-0.jsonl"
    Exchanges(Model(), log=log).ask(say("a"), int)
    before = log.read_bytes()
    for source in (log, tmp_path):
        replayed = Exchanges(None, replay=source)
        assert replayed.ask(say("a"), int) == 1
        with pytest.raises(EvoMergeException, match="question 2 of this search is not in it"):
            replayed.ask(say("b"), int)
    assert log.read_bytes() == before


@pytest.mark.parametrize("line", LINES_OF_NO_EXCHANGE)
def test_damaged_log_is_named(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log.jsonl"
    Exchanges(Model(), log=log).ask(say("a"), int)
    log.write_text(log.read_text() + line + "\n")
    with pytest.raises(StoreError, match=r"line 2 of .*log\.jsonl is no exchange"):
        Exchanges(Model(), log=log)


def test_log_that_is_not_there_cannot_be_replayed(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing.jsonl"):
        with pytest.raises(ValueError, match="there is no log of exchanges at"):
            Exchanges(None, replay=place)
