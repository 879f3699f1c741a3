"""What generated code can do behind the fence, and what it cannot."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from evomerge.evaluation.suite import sandbox
from evomerge.evaluation.suite.sandbox import run_calls

T = TypeVar("T")


def test_a_function_is_called_with_every_list_of_arguments() -> None:
    code = "import math\n\ndef root(x, y=0):\n    return math.isqrt(x) + y\n"
    assert run_calls(code, "root", [[9], [16, 1]]) == [3, 5]


def test_what_programs_print_is_no_result() -> None:
    code = "print('[7]')\n\ndef f():\n    print('[8]')\n    return 9\n"
    assert run_calls(code, "f", [[]]) == [9]


@pytest.mark.parametrize(
    "module",
    ["itertools", "collections", "re", "heapq", "functools", "random", "datetime", "typing"],
)
def test_what_small_programs_import_is_there(module: str) -> None:
    code = f"import {module}\n\ndef f():\n    return {module}.__name__\n"
    assert run_calls(code, "f", [[]]) == [module]


def test_classes_and_named_tuples_can_be_made() -> None:
    code = (
        "from dataclasses import dataclass\nfrom collections import namedtuple\n"
        "Pair = namedtuple('Pair', 'a b')\n\n@dataclass\nclass Sum:\n    a: int\n\n"
        "def f(x):\n    return list(Pair(x, Sum(x).a + 1))\n"
    )
    assert run_calls(code, "f", [[1]]) == [[1, 2]]


BROKEN = {
    "no such name": "def g():\n    return 1\n",
    "not Python": "def f(:\n",
    "raises": "def f():\n    raise ValueError\n",
    "ends the program": "def f():\n    raise SystemExit(0)\n",
    "leaves at once": "import os\n\ndef f():\n    os._exit(0)\n",
    "recurses for ever": "def f():\n    return f()\n",
    "returns no JSON": "def f():\n    return object()\n",
    "returns itself": "def f():\n    x = []\n    x.append(x)\n    return x\n",
    "asks for input": "def f():\n    return input()\n",
    "imports a stranger": "import numpy\n\ndef f():\n    return 1\n",
}


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_programs_that_fail_have_no_results(code: str) -> None:
    assert run_calls(code, "f", [[]]) is None


MALICIOUS = {
    "forks": "import os\n\ndef f():\n    while True:\n        os.fork()\n",
    "starts a program": "import subprocess\n\ndef f():\n    return subprocess.call('true')\n",
    "runs a shell": "import os\n\ndef f():\n    return os.system('true')\n",
    "opens a socket": "def f():\n    import socket\n    socket.socket()\n    return 1\n",
    "loads a library": "def f():\n    import ctypes\n    return 1\n",
    "kills its parent": "import os\n\ndef f():\n    os.kill(os.getppid(), 9)\n    return 1\n",
    "kills its group": "import os\n\ndef f():\n    os.killpg(0, 9)\n    return 1\n",
    "reads a file": "def f():\n    return open('/etc/passwd').read()\n",
    "lists a folder": "import os\n\ndef f():\n    return os.listdir('/')\n",
    "takes memory": "def f():\n    return len(bytearray(4 << 30))\n",
    "takes memory by and by": "def f():\n    x = [0]\n    while True:\n        x += x\n",
    "writes without end": (
        "import os\n\ndef f():\n    while True:\n        os.write(1, b'[1]' * 65536)\n"
    ),
    "fakes its results": "import os\n\ndef f():\n    os.write(1, b'[1]')\n    return 2\n",
}


@pytest.mark.parametrize("code", MALICIOUS.values(), ids=MALICIOUS)
def test_programs_that_do_more_than_compute_are_stopped(code: str) -> None:
    start = time.perf_counter()
    assert run_calls(code, "f", [[]]) is None
    assert time.perf_counter() - start < sandbox.PATIENCE


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    target = tmp_path / "trace"
    for action in (
        f"open({str(target)!r}, 'w').write('x')",
        f"__import__('os').mkdir({str(target)!r})",
        f"__import__('pathlib').Path({str(target)!r}).touch()",
        f"__import__('os').symlink('/', {str(target)!r})",
    ):
        assert run_calls(f"def f():\n    {action}\n    return 1\n", "f", [[]]) is None
        assert not target.exists()


def test_an_endless_loop_ends_with_its_processor_time() -> None:
    start = os.times()
    code = (
        "def f():\n    while True:\n        try:\n            x = 1\n"
        "        except BaseException:\n            pass\n"
    )
    assert run_calls(code, "f", [[]]) is None
    used = os.times()
    spent = used.children_user + used.children_system - start.children_user - start.children_system
    assert spent < sandbox.SECONDS + 2


@pytest.mark.parametrize(
    "code",
    [
        "import time\n\ndef f():\n    time.sleep(1000)\n",
        "import _thread\n\ndef f():\n    lock = _thread.allocate_lock()\n"
        "    lock.acquire()\n    lock.acquire()\n",
    ],
    ids=["sleeps", "locks"],
)
def test_a_program_that_waits_is_ended_by_the_clock(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 1.0)
    start = time.perf_counter()
    assert run_calls(code, "f", [[]]) is None
    assert time.perf_counter() - start < 15


def test_a_program_ends_even_when_its_parent_was_killed() -> None:
    script = (
        "from evomerge.evaluation.suite import sandbox\n"
        "sandbox.PATIENCE = 3.0\n"
        "print('started', flush=True)\n"
        "sandbox.run_calls('import time\\ndef f():\\n    time.sleep(1000)\\n', 'f', [[]])\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"started\n"
        children = _wait_for(lambda: _children_of(parent.pid))
        parent.kill()
        parent.wait()
    _wait_for(lambda: not any(map(_runs, children)))


def _children_of(process: int) -> list[int]:
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in done.stdout.split()]


def _runs(process: int) -> bool:
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() not in ("", "Z", "Zs")


def _wait_for(condition: Callable[[], T]) -> T:
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_the_environment_and_the_expected_results_stay_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "hush")
    code = (
        "import os\n\ndef f():\n    return [dict(os.environ).get('SECRET'), os.getcwd() == '/']\n"
    )
    assert run_calls(code, "f", [[]]) == [[None, False]]


def test_nothing_is_left_running_and_no_folder_stays(tmp_path: Path) -> None:
    script = (
        "import os, tempfile\n"
        "from evomerge.evaluation.suite.sandbox import run_calls\n"
        "run_calls('def f():\\n    while True: pass\\n', 'f', [[]])\n"
        "print(len(os.listdir(tempfile.gettempdir())))\n"
        "try:\n    os.waitpid(-1, 0)\nexcept ChildProcessError:\n    print('none')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.stdout.split() == ["0", "none"]


def test_the_child_knows_nothing_of_the_package() -> None:
    source = sandbox.CHILD.read_text(encoding="utf-8")
    assert "import evomerge" not in source
    assert "from evomerge" not in source
    assert json.dumps("expected") not in source
