"""A session is ended as a whole, whichever process groups it holds; nobody else is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evomerge.executors.session import signal_session

LEADER = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], process_group=0 if sys.argv[1] == "apart" else None)
print(child.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Give the leader of a session, and its child, in a process group 'apart' or the 'same'."""
    command = [sys.executable, "-c", LEADER, request.param]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        yield leader, int(leader.stdout.readline())
        leader.kill()


@pytest.mark.parametrize(
    ("start", "proc"), [("apart", True), ("same", True), ("same", False)], indirect=["start"]
)
def test_whole_session_ends_and_the_caller_stays(
    start: tuple["subprocess.Popen[str]", int],
    proc: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leader, child = start
    if not proc:  # as on systems without it
        monkeypatch.setattr("evomerge.executors.session.PROC", tmp_path)
    signal_session(leader.pid, signal.SIGKILL)
    assert leader.wait(10) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline, "the child survived"
        time.sleep(0.02)
    signal_session(leader.pid, signal.SIGKILL)  # nobody is left; no harm


@pytest.mark.parametrize("start", ["apart"], indirect=True)
def test_other_sessions_are_left_alone(start: tuple["subprocess.Popen[str]", int]) -> None:
    leader, child = start
    assert os.getsid(0) != leader.pid
    signal_session(child, signal.SIGKILL)  # it leads no session
    assert leader.poll() is None
    assert alive(child)
    os.kill(child, signal.SIGKILL)
