"""Executors: results as they finish, failures included, nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import EvoMergeException, ExecutorError
from evomerge.executors import EXECUTORS, Executor
from evomerge.executors.processes import ProcessExecutor
from evomerge.records import Candidate, Job

WORK = """
import os, signal, subprocess, tempfile, time

from evomerge.errors import EvaluationError
from evomerge.records import JobResult, Outcome


def make(setup):
    if setup == "slow start":
        time.sleep(1.5)
    if setup == "refuse":
        raise EvaluationError("task a: there are no items", "Write some")
    return Worker(setup)


class Worker:
    def __init__(self, setup):
        self.setup = setup

    def __call__(self, job):
        order = next((candidate.recipe for candidate in job.cohort if candidate.recipe), "")
        verb, _, rest = order.partition(" ")
        if verb == "sleep":
            time.sleep(float(rest))
        if verb == "die":
            with open(rest, "a") as log:
                log.write(f"{os.getpid()} ")
            if len(open(rest).read().split()) <= int(self.setup):
                os.kill(os.getpid(), signal.SIGKILL)
        if verb == "exit":
            os._exit(3)
        if verb == "fork":
            os.fork()
        if verb in ("hang", "deaf"):
            open(tempfile.mkstemp()[1], "w").write("litter")
            with open(rest, "a") as log:
                child = subprocess.Popen(["sleep", "600"], process_group=0)
                log.write(f"{os.getpid()} {child.pid} {tempfile.gettempdir()}\\n")
            if verb == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        seconds = {"pid": float(os.getpid()), "threads": float(os.environ["OMP_NUM_THREADS"])}
        found = [Outcome(candidate.fingerprint, {}, seconds) for candidate in job.cohort]
        return JobResult(job.number, tuple(found))
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the dotted name of a factory that spawned workers can import, too."""
    name = f"work_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield f"{name}:make"
    sys.modules.pop(name, None)


def job(number: int, order: str = "") -> Job:
    return Job(number, (Candidate(f"f{number}", order),), {})


def make(name: str, target: str, setup: Any = "0", **settings: float) -> Executor:
    return EXECUTORS.get(name)(target, setup, **settings)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["local", "processes"])
def test_every_job_has_one_result_and_workers_are_kept(name: str, target: str) -> None:
    with make(name, target, workers=1) as executor:
        first = list(executor.run([job(k) for k in range(3)]))
        second = list(executor.run([job(3)]))
        assert list(executor.run([])) == []
    assert [result.number for result in (*first, *second)] == [0, 1, 2, 3]
    assert len({result.outcomes[0].seconds["pid"] for result in (*first, *second)}) == 1
    assert not any(result.outcomes[0].failure for result in first)


@pytest.mark.parametrize("name", ["local", "processes"])
def test_error_in_the_setup_reaches_the_caller_as_one_line(name: str, target: str) -> None:
    with (
        make(name, target, "refuse") as executor,
        pytest.raises(EvoMergeException, match=r"^task a: there are no items\. Write some$"),
    ):
        list(executor.run([job(0), job(1)]))


def test_results_come_as_they_finish_and_nobody_survives_closing(target: str) -> None:
    with make("processes", target, workers=2, threads=3) as executor:
        list(executor.run([job(0), job(1)]))  # both workers have started
        results = list(executor.run([job(2, "sleep 1.5"), job(3), job(4)]))
    assert [result.number for result in results] == [3, 4, 2]
    assert {result.outcomes[0].seconds["threads"] for result in results} == {3.0}
    pids = {int(result.outcomes[0].seconds["pid"]) for result in results}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize(("deaths", "failure"), [(1, False), (2, True)])
def test_job_of_a_dead_worker_is_tried_once_more(
    deaths: int, failure: bool, target: str, tmp_path: Path
) -> None:
    log = tmp_path / "deaths"
    with make("processes", target, str(deaths), workers=1) as executor:
        results = {r.number: r for r in executor.run([job(0, f"die {log}"), job(1)])}
    assert len(log.read_text().split()) == 2
    found = results[0].outcomes[0]
    assert found.fingerprint == "f0"
    expected = "its worker died 2 times (SIGKILL, often the system running out of memory)"
    assert found.failure == (expected if failure else "")
    assert not results[1].outcomes[0].failure


@pytest.mark.parametrize("order", ["exit", "hang {log}"])
def test_of_candidates_that_are_one_job_only_the_one_to_blame_fails(
    order: str, target: str, tmp_path: Path
) -> None:
    orders = ["", order.format(log=tmp_path / "log"), ""]
    cohort = tuple(Candidate(f"f{k}", order) for k, order in enumerate(orders))
    with make("processes", target, workers=2, timeout=0.5) as executor:
        results = list(executor.run([Job(0, cohort, {}), job(9)]))
    outcomes = {o.fingerprint: o.failure for result in results for o in result.outcomes}
    assert sorted(outcomes) == ["f0", "f1", "f2", "f9"]
    assert [mark for mark, failure in outcomes.items() if failure] == ["f1"]
    assert sum(len(result.outcomes) for result in results) == 4


def test_worker_that_exits_by_itself_is_told_by_its_code(target: str) -> None:
    with make("processes", target, workers=1) as executor:
        (result,) = executor.run([job(0, "exit")])
    assert result.outcomes[0].failure == "its worker died 2 times (exit code 3)"


def test_idle_worker_that_died_is_replaced(target: str) -> None:
    with make("processes", target, workers=1) as executor:
        (first,) = executor.run([job(0)])
        os.kill(int(first.outcomes[0].seconds["pid"]), signal.SIGKILL)
        (second,) = executor.run([job(1)])
    assert not second.outcomes[0].failure
    assert second.outcomes[0].seconds["pid"] != first.outcomes[0].seconds["pid"]


def test_closing_does_not_wait_for_a_job_that_takes_long(target: str) -> None:
    executor = make("processes", target, workers=2)
    results = executor.run([job(0), job(1, "sleep 600")])
    next(results)
    begun = time.monotonic()
    executor.close()
    assert time.monotonic() - begun < 30
    executor.close()  # once more does no harm


@pytest.mark.parametrize("verb", ["hang", "deaf"])
def test_job_that_hangs_fails_in_time_and_takes_along_what_it_started(
    verb: str, target: str, tmp_path: Path
) -> None:
    log = tmp_path / "hung"
    begun = time.monotonic()
    with make("processes", target, workers=1, timeout=0.5) as executor:
        results = {r.number: r for r in executor.run([job(0, f"{verb} {log}"), job(1), job(2)])}
        assert time.monotonic() - begun < 30
        (line,) = log.read_text().splitlines()  # it was not tried again
        worker, child, folder = line.split()
        assert not alive(int(worker))
        wait_until(lambda: not alive(int(child)), "the child's end")
        assert not Path(folder).exists()
    assert results[0].outcomes[0].failure == "no answer within 0.5 s"
    assert not any(results[k].outcomes[0].failure for k in (1, 2))
    assert len(results) == 3


def test_one_that_hangs_does_not_stop_the_others(target: str, tmp_path: Path) -> None:
    with make("processes", target, workers=2, timeout=2.0) as executor:
        orders = [
            f"hang {tmp_path / 'log'}",
            "",
            "sleep 0.2",
            "sleep 0.2",
            f"hang {tmp_path / 'x'}",
        ]
        results = list(executor.run([job(k, order) for k, order in enumerate(orders)]))
    failed = {r.number for r in results if r.outcomes[0].failure}
    assert (len(results), failed) == (5, {0, 4})


def test_start_of_a_worker_is_not_the_time_of_its_first_candidate(target: str) -> None:
    with make("processes", target, "slow start", workers=1, timeout=0.5) as executor:
        results = list(executor.run([job(0), job(1, "sleep 0.1")]))
    assert not any(result.outcomes[0].failure for result in results)


def test_worker_that_never_gets_ready_is_an_error(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evomerge.executors.processes.START", 0.2)
    with (
        make("processes", target, "slow start", workers=1, timeout=9) as executor,
        pytest.raises(ExecutorError, match=r"a worker was not ready to begin within 0\.2 s\. Look"),
    ):
        list(executor.run([job(0)]))


def test_what_a_worker_started_and_wrote_ends_with_it(target: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    executor = make("processes", target, workers=2)
    results = executor.run([job(0), job(1, f"hang {log}")])
    next(results)
    wait_until(lambda: "\n" in log.read_text(), "the job")
    executor.close()
    worker, child, folder = log.read_text().split()
    assert not alive(int(worker))
    wait_until(lambda: not alive(int(child)), "the child's end")
    assert not Path(folder).exists()


def test_environment_of_the_caller_is_left_alone(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with make("processes", target, workers=1, threads=1) as executor:
        list(executor.run([job(0)]))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_workers_that_cannot_be_started_are_an_error_of_one_line(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        ProcessExecutor(target, "0") as executor,
        pytest.raises(ExecutorError, match=r"no worker process could be started: .*No such file"),
    ):
        list(executor.run([job(0)]))
    assert not list(tmp_path.glob("evomerge-*"))


def test_place_for_temporary_files_that_cannot_be_had_is_an_error_of_one_line(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with (
        ProcessExecutor(target, "0") as executor,
        pytest.raises(ExecutorError, match=r"no folder for temporary files .*No such.*set TMPDIR"),
    ):
        list(executor.run([job(0)]))


def test_local_executor_says_that_it_runs_one_job_at_a_time(target: str) -> None:
    assert make("local", target, workers=8).workers == 1


@pytest.mark.slow
def test_killed_parent_leaves_neither_processes_nor_folders(target: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    script = (
        "from evomerge.executors import EXECUTORS\n"
        "from evomerge.records import Candidate, Job\n"
        f"job = Job(0, (Candidate('f', 'hang {log}'),), {{}})\n"
        f"list(EXECUTORS.get('processes')({target!r}, '0').run([job]))\n"
    )
    paths = [str(tmp_path), str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as parent:
        wait_until(lambda: "\n" in log.read_text(), "the job")
        parent.kill()
    worker, child, folder = log.read_text().split()
    wait_until(lambda: not alive(int(worker)), "the worker's end")
    wait_until(lambda: not alive(int(child)), "the child's end")
    assert not Path(folder).exists()


def test_child_that_a_job_forks_and_lets_return_gives_no_second_answer(target: str) -> None:
    with make("processes", target, workers=1) as executor:
        results = [r.number for r in executor.run([job(0, "fork"), job(1), job(2), job(3)])]
    assert results == [0, 1, 2, 3]
