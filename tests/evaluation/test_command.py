"""A command as the judge: real processes that answer, fail, babble and hang."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evaluation import build_evaluator
from evomerge.evaluation.command import Command
from evomerge.records import Item

Judge = Callable[..., Command]
ITEMS = [Item(f"k{n}", "t", {"prompt": f"p{n}", "target": n}) for n in range(3)]


class Echo:
    """A LanguageModel that answers every prompt with itself."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def generate(self, prompts: list[str], *, max_new_tokens: int, stop: tuple[str, ...]) -> Any:
        self.asked.append((max_new_tokens, stop))
        return [f"<{prompt}>" for prompt in prompts]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Return make(body, **options) -> Command that runs a Python script; `told` is its input."""

    def make(body: str, **options: Any) -> Command:
        script = tmp_path / "judge.py"
        script.write_text(f"import json, os, sys, time\ntold = json.load(sys.stdin)\n{body}\n")
        command = [sys.executable, "judge.py"]
        made = build_evaluator(
            "command", {"command": command, "cwd": str(tmp_path), **options}, "t"
        )
        assert isinstance(made, Command)
        return made

    return make


def test_command_is_told_items_and_answers_and_gives_scores(judge: Judge, tmp_path: Path) -> None:
    body = """
open("told.json", "w").write(json.dumps(told))
print(json.dumps({"scores": [item["fields"]["target"] for item in told["items"]]}))
"""
    model = Echo()
    assert judge(body, max_new_tokens=7, stop="\n").evaluate(model, ITEMS) == [0.0, 1.0, 2.0]
    assert json.loads((tmp_path / "told.json").read_text()) == {
        "task": "t",
        "items": [
            {"key": f"k{n}", "fields": {"prompt": f"p{n}", "target": n}, "answer": f"<p{n}>"}
            for n in range(3)
        ],
    }
    assert model.asked == [(7, ("\n",))]


def test_command_that_needs_the_folder_gets_its_path_and_no_answers(judge: Judge) -> None:
    body = """
good = told["folder"] == "/some/where" and not any("answer" in item for item in told["items"])
print([float(good)] * len(told["items"]))
"""
    command = judge(body, needs="folder")
    assert (command.subject, command.at_once, command.per_item) == ("folder", True, True)
    assert Command.looks_at({"needs": "folder"}) == "folder"
    assert command.evaluate(Path("/some/where"), ITEMS) == [1.0, 1.0, 1.0]


def test_command_with_metrics_has_one_score_for_all(judge: Judge) -> None:
    command = judge('print(json.dumps({"a": 1, "b": 2}))', metrics=["a", "b"])
    assert (command.per_item, command.at_once) == (False, True)
    assert command.evaluate(Echo(), ITEMS) == [1.5] * 3


def test_environment_and_folder_are_the_commands_own(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "1")
    body = """
here = os.getcwd() == os.path.realpath(CWD)
print([float(here), float(os.environ["INHERITED"]), float(os.environ["OURS"])])
""".replace("CWD", repr(str(tmp_path)))
    assert judge(body, environment={"OURS": "2"}).evaluate(Echo(), ITEMS) == [1.0, 1.0, 2.0]
    assert "OURS" not in os.environ


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit(3)", r"judge\.py ended with exit code 3$"),
        (
            "print('first', file=sys.stderr); raise KeyError('why')",
            r"judge\.py ended with exit code 1: KeyError: 'why'$",
        ),
        ("os.kill(os.getpid(), 9)", r"judge\.py ended with signal SIGKILL$"),
        ("pass", r"the judge's answer is not JSON: ''\. Answer with JSON only"),
        ("print('loading')\nprint([1, 1, 1])", r"is not JSON: 'loading\\n\[1, 1, 1\]'"),
        (r"sys.stdout.buffer.write(b'\xff\xfe')", "the judge's answer is not JSON"),
        ("print('[' * 100000)", "the judge's answer is not JSON"),
        ("print([1, 2])", "the evaluator gave 2 scores for 3 items"),
        ("print('[NaN, 1, 1]')", "1 of 3 scores are NaN or infinite"),
        ("print(json.dumps(['1', 1, 1]))", "the evaluator gave scores that are not numbers"),
        ("print('[1' + '0' * 400 + ', 1, 1]')", "the evaluator gave scores that are not numbers"),
        ("print(json.dumps({'k0': 1}))", "the judge scored 1 of 3 items"),
        ("print(1.0)", r"the evaluator gave 1\.0 for 3 items"),
    ],
)
def test_command_that_fails_is_one_clear_line(judge: Judge, body: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        judge(body).evaluate(Echo(), ITEMS)
    assert str(caught.value).startswith("task t: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("deaf", [False, True])
def test_command_that_hangs_is_ended_with_what_it_started(
    judge: Judge, tmp_path: Path, deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evomerge.evaluation.command.GRACE", 0.3)
    body = f"""
import signal, subprocess
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
time.sleep(600)
"""
    begun = time.monotonic()
    with pytest.raises(EvaluationError, match=r"judge\.py gave no answer within 1\.5 s\. Mend it"):
        judge(body, timeout=1.5).evaluate(Echo(), ITEMS)
    assert time.monotonic() - begun < 20
    state = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() - begun < 30
        time.sleep(0.02)


def test_command_that_reads_nothing_and_one_that_says_much_are_no_trouble(judge: Judge) -> None:
    big = [Item(f"k{n}", "t", {"prompt": "x" * 100_000}) for n in range(10)]
    (quick,) = [judge("pass")]
    quick.words = [sys.executable, "-c", "print([1.0] * 10)"]
    assert quick.evaluate(Echo(), big) == [1.0] * 10
    talking = judge("sys.stderr.write('x' * 1_000_000); print([1, 1, 1])")
    assert talking.evaluate(Echo(), ITEMS) == [1.0] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "no-such-program --x"}, "there is no program 'no-such-program' that could be"),
        ({"command": "./judge.sh"}, r"there is no program './judge\.sh' that could be run"),
        ({"command": ""}, "command must be a program and its arguments"),
        ({"command": "true", "cwd": "/no/where"}, "cwd: there is no folder /no/where"),
        ({"command": "true", "timeout": 0}, "timeout must be a positive number of seconds"),
        ({"command": "true", "timeout": float("inf")}, "at most a million"),
        ({"command": "true", "needs": "answer"}, "needs must be 'answers' or 'folder', not 'answe"),
        ({"command": "true", "max_new_tokens": 0}, "max_new_tokens must be a whole number"),
        ({"command": "true", "stop": [""]}, "stop must be a text or a list of texts"),
        ({"command": "true", "metrics": []}, "metrics must be a list of names"),
        ({"command": "'open"}, "No closing quotation"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_runs(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=f"task t: command: .*{message}"):
        build_evaluator("command", options, "t")


def test_items_need_the_prompt_only_where_answers_are_generated(judge: Judge) -> None:
    bare = [Item("k", "t", {"question": "why?"})]
    judge("pass", needs="folder").check_items("t", bare)
    judge("pass", prompt="question").check_items("t", bare)
    with pytest.raises(EvaluationError, match=r"task t: item 1 has no text 'prompt'\. Say with"):
        judge("pass").check_items("t", bare)


def test_program_that_changed_is_another_judge(judge: Judge) -> None:
    identity = judge("print([1, 1, 1])").identity
    assert judge("print([1, 1, 1])").identity == identity
    assert judge("print([0, 0, 0])").identity != identity


def test_no_items_start_no_process(judge: Judge) -> None:
    assert judge("sys.exit(3)").evaluate(Echo(), []) == []


def test_what_a_command_leaves_behind_to_hold_its_output_is_ended(
    judge: Judge, tmp_path: Path
) -> None:
    body = """
import subprocess
child = subprocess.Popen(["sleep", "600"])
open("left", "w").write(str(child.pid))
print([1.0] * 3, flush=True)
"""
    with pytest.raises(EvaluationError, match=r"gave no answer within 1.5 s"):
        judge(body, timeout=1.5).evaluate(Echo(), ITEMS)
    child = Path(f"/proc/{(tmp_path / 'left').read_text()}/stat")
    deadline = time.monotonic() + 10
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
