"""The run store: what was committed stays, damage is seen, one process writes."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import StoreError
from evomerge.store import FILE, RACED_OUT, CandidateRow, RunStore, open_store

PACKAGE = str(Path(__file__).parents[2])


def row(number: int, **changes: Any) -> CandidateRow:
    values: dict[str, Any] = {
        "number": number,
        "round": 0,
        "stage": "search",
        "label": f"candidate {number}",
        "genome": (0.25, 1 / 3),
        "recipe": {"merge_method": "linear"},
        "fingerprint": f"f{number}",
        "state": "asked",
        "objective": None,
        "items": 0,
        "error": "",
        "seconds": {},
    }
    return CandidateRow(**{**values, **changes})


def begin(folder: Path) -> None:
    with open_store(folder, write=True) as store:
        store.create(
            "run",
            config={"seed": 1},
            seed=1,
            models={"a": {}},
            versions={"torch": "2"},
            tasks={"t": "f"},
        )


def test_run_and_candidates_come_back_as_they_were(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.ask([row(0), row(1, genome=None, stage="probe")])
        store.record([0], "f0", {"key": {"i": 0.1 + 0.2}}, objective=0.5, items=1, seconds={"m": 1})
        store.record([1], "f1", {}, objective=None, items=0, error="it raised")
    with open_store(tmp_path) as store:
        run = store.run()
        first, second = store.candidates()
        assert store.scores("f0", "key") == {"i": 0.1 + 0.2}
        assert store.count() == 2
        assert [c.number for c in store.candidates("probe", 0)] == [1]
        assert store.candidates("search", 1) == []
    assert run is not None
    assert (run.name, run.config, run.state, run.verdict) == ("run", {"seed": 1}, "running", None)
    assert first == row(0, state="done", objective=0.5, items=1, seconds={"m": 1})
    assert second == row(1, genome=None, stage="probe", state="failed", error="it raised")


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_genomes_and_scores_survive_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, genome: list[float], score: float
) -> None:
    folder = tmp_path_factory.mktemp("store")
    begin(folder)
    with open_store(folder, write=True) as store:
        store.ask([row(0, genome=tuple(genome))])
        store.record([0], "f0", {"e": {"i": score}}, objective=score, items=1)
        (found,) = store.candidates()
        kept = store.scores("f0", "e")["i"]
    assert found.genome == tuple(genome)
    assert kept == score
    assert found.objective == score
    assert math.copysign(1, kept) == math.copysign(1, score) or score == 0


def test_who_was_raced_out_is_on_record_with_estimate_and_rival(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.ask([row(0), row(1)])
        store.record([0], "f0", {"e": {"i": 0.0}}, objective=0.25, items=30, rival="candidate 7")
        assert store.candidates(fingerprint="f1") == [row(1)]
        (found,) = store.candidates("search", fingerprint="f0")
    assert found == row(0, state=RACED_OUT, objective=0.25, items=30, rival="candidate 7")


def test_layers_are_told_with_the_first_of_equal_candidates_and_add_up(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.ask([row(k, fingerprint="f0", phase="layers") for k in range(2)])
        for _ in range(2):
            store.record([0, 1], "f0", {}, objective=1.0, items=1, layers=(3, 8))
        found = store.candidates()
    assert [one.layers for one in found] == [(6, 16), (0, 0)]
    assert {one.phase for one in found} == {"layers"}


def test_what_is_written_together_is_one_commit_or_none(tmp_path: Path) -> None:
    def record_both(store: RunStore, score: Any) -> None:
        with store.together():
            store.record([0], "f0", {"e": {"i": 1.0}}, objective=1.0, items=1)
            store.record([1], "f1", {"e": {"i": score}}, objective=1.0, items=1)

    begin(tmp_path)
    commits: list[None] = []
    with open_store(tmp_path, write=True) as store:
        store.ask([row(0), row(1)])
        store.on_commit = lambda: commits.append(None)
        with pytest.raises(StoreError, match=r"cannot be used|damaged"):
            record_both(store, object())  # what no store takes
        assert (store.candidates(), store.scores("f0", "e")) == ([row(0), row(1)], {})
        assert not commits
        record_both(store, 0.5)
        assert [one.state for one in store.candidates()] == ["done", "done"]
    assert len(commits) == 1


def test_known_score_is_never_overwritten(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.ask([row(0)])
        store.record([0], "f0", {"e": {"i": 1.0}}, objective=1.0, items=1)
        store.record([], "f0", {"e": {"i": 2.0, "j": 3.0}}, objective=1.0, items=1)
        assert store.scores("f0", "e") == {"i": 1.0, "j": 3.0}


def test_transaction_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        with pytest.raises(StoreError, match="UNIQUE constraint failed"):
            store.ask([row(0), row(1), row(1)])
        assert store.count() == 0
        store.ask([row(0)])  # and the store can still be used
        assert store.count() == 1


def test_commit_survives_a_killed_process(tmp_path: Path) -> None:
    begin(tmp_path)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from evomerge.store import open_store\n"
        "with open_store(Path(sys.argv[1]), write=True) as store:\n"
        "    store.finish('failed')\n"
        "    store._connection.execute('BEGIN IMMEDIATE')\n"
        "    store._connection.execute(\"UPDATE run SET name = 'half'\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / f"{FILE}-wal").stat().st_size > 0
    with open_store(tmp_path) as store:
        run = store.run()
    assert run is not None
    assert (run.name, run.state) == ("run", "failed")


def test_readers_see_the_last_commit_while_another_writes(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as writer:
        writer.ask([row(0)])
        with open_store(tmp_path) as reader:
            assert reader.count() == 1
            writer.ask([row(1)])
            assert reader.count() == 2


def test_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with (
        open_store(tmp_path, write=True),
        pytest.raises(StoreError, match=r"another process is working on .*\. Wait for it, or stop"),
        open_store(tmp_path, write=True),
    ):
        pass
    with open_store(tmp_path, write=True) as store:
        assert store.run() is None


def test_reading_where_there_is_no_run_makes_none(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"holds no run\. See `evomerge runs`"),
        open_store(tmp_path / "lost"),
    ):
        pass
    assert not (tmp_path / "lost").exists()


@pytest.mark.parametrize("damage", ["head", "page", "cut"])
def test_damaged_file_is_detected_when_it_is_opened(damage: str, tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.ask([row(k) for k in range(200)])
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    if damage == "head":
        content[:100] = bytes(100)
    elif damage == "page":
        content[4096:8192] = b"\xff" * 4096
    else:
        content = content[: len(content) // 2]
    file.write_bytes(content)
    with (
        pytest.raises(StoreError, match=r"the store in .* is damaged: .*\. Restore it from a back"),
        open_store(tmp_path),
    ):
        pass


def test_every_commit_is_told(tmp_path: Path) -> None:
    begin(tmp_path)
    commits: list[int] = []
    with open_store(tmp_path, write=True) as store:
        store.on_commit = lambda: commits.append(store.count())
        store.ask([row(0)])
        store.record([0], "f0", {}, objective=None, items=0, error="x")
        store.add_cost(1.5, 2.5)
        store.finish("finished", {"sentence": "so"})
    assert commits == [1, 1, 1, 1]


def test_effort_adds_up_over_sittings_and_the_verdict_stays(tmp_path: Path) -> None:
    begin(tmp_path)
    with open_store(tmp_path, write=True) as store:
        store.add_cost(1.5, 2.5)
        store.add_cost(1.0, 0.25)
        store.finish("finished", {"sentence": "so"})
        store.finish("finished")
        run = store.run()
    assert run is not None
    assert (run.wall_seconds, run.cpu_seconds) == (2.5, 2.75)
    assert run.verdict == {"sentence": "so"}
    with sqlite3.connect(tmp_path / FILE) as connection:
        (text,) = connection.execute("SELECT verdict FROM run").fetchone()
    connection.close()
    assert json.loads(text) == {"sentence": "so"}


def test_goals_bounds_and_where_a_candidate_comes_from_are_on_record(tmp_path: Path) -> None:
    begin(tmp_path)
    origin = {"how": "mutant", "of": ["candidate 0"]}
    with open_store(tmp_path, write=True) as store:
        store.ask([row(0), row(1, origin=origin)])
        store.record(
            [1], "f1", {}, objective=0.5, items=2, goals={"b": 0.25, "a": 1.0}, violation=0.1
        )
        store.keep({1: "best of a"})
        plain, kept = store.candidates()
    assert (plain.goals, plain.violation, plain.origin, plain.elite) == ({}, 0.0, {}, "")
    assert list(kept.goals.items()) == [("b", 0.25), ("a", 1.0)]
    assert (kept.violation, kept.origin, kept.elite) == (0.1, origin, "best of a")


@pytest.mark.parametrize(
    "asked", [{"stage": "search", "round_": 0}, {"fingerprint": "f1"}, {"stage": "search"}]
)
def test_candidates_are_found_without_reading_them_all(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    begin(tmp_path)
    said: list[str] = []
    with open_store(tmp_path, write=True) as store:
        store.ask([row(k) for k in range(4)])
        store._connection.set_trace_callback(said.append)
        assert store.candidates(**asked)
        store._connection.set_trace_callback(None)
        [query] = said
        plan = store._connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    assert "SEARCH candidates USING INDEX" in str(plan)
