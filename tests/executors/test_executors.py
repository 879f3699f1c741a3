"""Executors: results as they finish, failures included, nobody left behind."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import EvoMergeException, ExecutorError
from evomerge.executors import EXECUTORS, Executor
from evomerge.executors.processes import ProcessExecutor
from evomerge.records import Candidate, Job

WORK = """
import os, signal, time

from evomerge.errors import EvaluationError
from evomerge.records import JobResult, Outcome


def make(setup):
    if setup == "refuse":
        raise EvaluationError("task a: there are no items", "Write some")
    return Worker(setup)


class Worker:
    def __init__(self, setup):
        self.setup = setup

    def __call__(self, job):
        (order,) = (candidate.recipe for candidate in job.cohort)
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
        seconds = {"pid": float(os.getpid()), "threads": float(os.environ["OMP_NUM_THREADS"])}
        return JobResult(job.number, (Outcome(job.cohort[0].fingerprint, {}, seconds),))
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


def make(name: str, target: str, setup: Any = "0", **settings: int) -> Executor:
    return EXECUTORS.get(name)(target, setup, **settings)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with (
        ProcessExecutor(target, "0") as executor,
        pytest.raises(ExecutorError, match=r"no worker process could be started: .*No such file"),
    ):
        list(executor.run([job(0)]))


def test_local_executor_says_that_it_runs_one_job_at_a_time(target: str) -> None:
    assert make("local", target, workers=8).workers == 1
