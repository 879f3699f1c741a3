"""Ctrl-C, SIGTERM and dying workers: nothing is lost, nobody is left behind."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evomerge.evolve import evolve
from evomerge.recipe import write_yaml
from evomerge.store import open_store

MakeRun = Callable[..., Any]
ReadRun = Callable[[Path], dict[str, Any]]
Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]
PATIENCE = 90.0
PROCESSES = {"name": "processes", "workers": 2, "threads": 1}

pytestmark = pytest.mark.slow

SLOW = """

def slow(recipe, items):
    import time

    time.sleep(0.1)
    return judge(recipe, items)


def deadly(recipe, items):
    import os, signal

    scores = judge(recipe, items)
    wanted = Path(__file__).with_name("deaths")
    deaths = int(wanted.read_text()) if wanted.exists() else 0
    searching = items[0]["split"] == "search" and recipe["merge_method"] == "task_arithmetic"
    if deaths and searching:
        wanted.write_text(str(deaths - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return scores
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose current folder is `folder`: a command and its workers."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                found.append(int(link.parent.name))
        except OSError:
            continue  # it ended while we looked, or is somebody else's
    return found


def slow_run(recipe_run: MakeRun, tmp_path: Path, function: str, **executor: Any) -> Any:
    run = recipe_run(executor={**PROCESSES, **executor})
    judge = tmp_path / "judge.py"
    judge.write_text(judge.read_text() + SLOW)
    first = run.document["tasks"][0]
    first["function"] = f"{judge}:{function}"
    return run


def searched(folder: Path) -> int:
    if not (folder / "store.db").exists():
        return 0
    with open_store(folder) as store:
        return sum(row.state != "asked" for row in store.candidates("search"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_run_says_how_to_go_on_leaves_nobody_and_is_finished_by_resume(
    number: signal.Signals,
    tmp_path: Path,
    recipe_run: MakeRun,
    read_run: ReadRun,
    command_line: Start,
) -> None:
    run = slow_run(recipe_run, tmp_path, "slow")
    (tmp_path / "slow.yml").write_text(write_yaml(run.document))
    process = command_line(["evolve", "slow.yml"])
    folder = tmp_path / "runs" / "run"
    wait_for(lambda: searched(folder) >= 3 or process.poll() is not None, "three candidates")
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "stopped; go on with: evomerge resume run\n" in err
    assert "Traceback" not in err
    wait_for(lambda: not processes_in(tmp_path), "the workers to end")
    assert searched(folder) < 12

    found = re.search(r"go on with: evomerge (.*)", err)
    assert found is not None
    process = command_line(found[1].split())
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "The merge" in out
    evolve({**run.document, "executor": {"name": "local"}}, runs=tmp_path / "whole")
    assert read_run(folder)["candidates"] == read_run(tmp_path / "whole" / "run")["candidates"]
    assert read_run(folder)["scores"] == read_run(tmp_path / "whole" / "run")["scores"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_while_workers_are_being_started_prints_no_traceback(
    tmp_path: Path, recipe_run: MakeRun, command_line: Start
) -> None:
    run = slow_run(recipe_run, tmp_path, "slow")
    (tmp_path / "slow.yml").write_text(write_yaml(run.document))
    process = command_line(["evolve", "slow.yml"])
    wait_for(lambda: len(processes_in(tmp_path)) >= 3 or process.poll() is not None, "two workers")
    time.sleep(0.4)  # they are importing now
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "go on with: evomerge resume run" in err
    wait_for(lambda: not processes_in(tmp_path), "the workers to end")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_of_a_killed_run_end_by_themselves(
    tmp_path: Path, recipe_run: MakeRun, command_line: Start
) -> None:
    run = slow_run(recipe_run, tmp_path, "slow")
    (tmp_path / "slow.yml").write_text(write_yaml(run.document))
    process = command_line(["evolve", "slow.yml"])
    folder = tmp_path / "runs" / "run"
    wait_for(lambda: searched(folder) >= 1 or process.poll() is not None, "a candidate")
    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_for(lambda: not processes_in(tmp_path), "the workers to end")


@pytest.mark.parametrize(("deaths", "failures"), [(1, 0), (2, 1)])
def test_killed_worker_is_replaced_and_its_candidate_tried_once_more(
    deaths: int, failures: int, tmp_path: Path, recipe_run: MakeRun, read_run: ReadRun
) -> None:
    run = slow_run(recipe_run, tmp_path, "deadly", workers=1)
    (tmp_path / "deaths").write_text(str(deaths))
    evolve(run.document, runs=tmp_path)
    assert (tmp_path / "deaths").read_text() == "0"
    rows = read_run(tmp_path / "run")["candidates"]
    search = [row for row in rows if row[2] == "search"]
    errors = [row[-1] for row in search if row[-1]]
    assert len(search) == 12
    assert len(errors) == failures
    for error in errors:
        assert error.startswith("its worker died 2 times (SIGKILL, often the system running out")
