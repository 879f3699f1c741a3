"""Kill -9 at any commit, resume: the same candidates, scores and verdict, nothing twice."""

import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import evomerge.evolve.run as run_module
from evomerge.errors import StoreError
from evomerge.evolve import evolve, resume
from evomerge.store import RunStore, open_store

MakeRun = Callable[..., Any]
ReadRun = Callable[[Path], dict[str, Any]]
Opener = Callable[..., AbstractContextManager[RunStore]]
PATIENCE = 60.0

pytestmark = pytest.mark.slow


def opener_that_counts(act: Callable[[int], None]) -> Opener:
    """Return `open_store` whose stores call act(number) at their 1st, 2nd … commit."""
    commits = [0]

    def step() -> None:
        commits[0] += 1
        act(commits[0])

    @contextmanager
    def open_counting(folder: Path, *, write: bool = False) -> Iterator[RunStore]:
        with open_store(folder, write=write) as store:
            store.on_commit = step
            yield store

    return open_counting


def kill_at(number: int) -> Callable[[int], None]:
    def act(commit: int) -> None:
        if commit == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def die_in_a_fork(action: Callable[[], object]) -> None:
    """Run `action` in a forked child and require that it is killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs no threaded code
        child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(1)
    deadline = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    assert os.WIFSIGNALED(status), "the child ended by itself: there is no such commit"
    assert os.WTERMSIG(status) == signal.SIGKILL


def start_and_die(
    monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "open_store", opener_that_counts(kill_at(number)))
        die_in_a_fork(action)


def count_commits(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> int:
    seen: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "open_store", opener_that_counts(seen.append))
        action()
    return len(seen)


def searched(algorithm: str) -> dict[str, Any]:
    return {"algorithm": algorithm, "evaluations": 12, "population": 5}


@pytest.mark.parametrize("algorithm", ["cma", "random"])
def test_run_killed_at_every_commit_ends_as_if_it_had_not_been(
    algorithm: str,
    tmp_path: Path,
    recipe_run: MakeRun,
    read_run: ReadRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = recipe_run(search=searched(algorithm))
    commits = count_commits(monkeypatch, lambda: evolve(run.document, runs=tmp_path / "whole"))
    whole = read_run(tmp_path / "whole" / "run")
    looked_at = sorted(run.evaluated())
    assert commits > 12
    assert max(Counter(looked_at).values()) == 1
    for number in range(1, commits + 1):
        run.log.unlink()
        runs = tmp_path / f"killed-{number}"
        start_and_die(monkeypatch, number, lambda runs=runs: evolve(run.document, runs=runs))
        result = resume("run", runs=runs)
        assert read_run(runs / "run") == whole, f"killed at commit {number} of {commits}"
        assert sorted(run.evaluated()) == looked_at, f"killed at commit {number} of {commits}"
        assert result.verdict.to_values()["sentence"] in whole["run"][0][-1]


@pytest.mark.parametrize("batch", [None, 2])
def test_run_that_races_and_is_killed_in_its_search_drops_the_same_candidates(
    batch: int | None,
    tmp_path: Path,
    recipe_run: MakeRun,
    read_run: ReadRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    racing = {"alpha": 0.9, "first": 2, "every": 1}
    run = recipe_run(racing=racing, items={"batch": batch})
    evolve(run.document, runs=tmp_path / "whole")
    whole = read_run(tmp_path / "whole" / "run")
    looked_at = sorted(run.evaluated())
    assert "raced out" in {row[7] for row in whole["candidates"]}
    assert max(Counter(looked_at).values()) == 1
    for number in range(8, 20, 2):
        run.log.unlink()
        runs = tmp_path / f"killed-{number}"
        start_and_die(monkeypatch, number, lambda runs=runs: evolve(run.document, runs=runs))
        resume("run", runs=runs)
        assert read_run(runs / "run") == whole, f"killed at commit {number}"
        assert sorted(run.evaluated()) == looked_at, f"killed at commit {number}"


def test_run_killed_again_at_every_commit_of_its_resumes_still_ends_the_same(
    tmp_path: Path, recipe_run: MakeRun, read_run: ReadRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recipe_run()
    evolve(run.document, runs=tmp_path / "whole")
    looked_at = sorted(run.evaluated())
    run.log.unlink()
    start_and_die(monkeypatch, 1, lambda: evolve(run.document, runs=tmp_path))
    for _ in range(8):
        start_and_die(monkeypatch, 2, lambda: resume("run", runs=tmp_path))
    resume("run", runs=tmp_path)
    assert read_run(tmp_path / "run") == read_run(tmp_path / "whole" / "run")
    assert sorted(run.evaluated()) == looked_at


def test_run_in_worker_processes_killed_in_its_search_ends_as_a_local_one(
    tmp_path: Path,
    recipe_run: MakeRun,
    read_run: ReadRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = {"name": "processes", "workers": 2, "threads": 1}
    run, local = recipe_run(executor=several), recipe_run()
    evolve(local.document, runs=tmp_path / "whole")
    start_and_die(monkeypatch, 11, lambda: evolve(run.document, runs=tmp_path))
    resume("run", runs=tmp_path)
    whole, resumed = read_run(tmp_path / "whole" / "run"), read_run(tmp_path / "run")
    assert resumed["candidates"] == whole["candidates"]
    assert resumed["scores"] == whole["scores"]
    assert resumed["run"][0][-1] == whole["run"][0][-1]


def test_run_killed_before_its_first_commit_is_started_again_under_its_name(
    tmp_path: Path, recipe_run: MakeRun, read_run: ReadRun
) -> None:
    run = recipe_run()
    with open_store(tmp_path / "run", write=True):
        pass  # the store is there, its first commit is not
    with pytest.raises(StoreError, match=r"holds no run\. Start it again with `evomerge evolve`"):
        resume("run", runs=tmp_path)
    evolve(run.document, runs=tmp_path)
    evolve(run.document, runs=tmp_path / "whole")
    assert read_run(tmp_path / "run") == read_run(tmp_path / "whole" / "run")


def test_finished_run_resumes_to_its_verdict_without_evaluating_anything(
    tmp_path: Path, recipe_run: MakeRun
) -> None:
    run = recipe_run()
    first = evolve(run.document, runs=tmp_path)
    run.log.unlink()
    assert resume("run", runs=tmp_path) == first
    assert run.evaluated() == []
