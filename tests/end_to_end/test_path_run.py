"""Searches for paths: every space, killed, spread over workers, and what they leave."""

import json
import os
import shutil
import signal
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import dynamic_module_utils

import evomerge.evolve.run as run_module
from evomerge.checkpoints.locate import locate
from evomerge.errors import ConfigError
from evomerge.evolve import RunResult, evolve, resume
from evomerge.recipe import Recipe, find_hops, is_path, parse_recipe
from evomerge.store import CandidateRow, RunStore, open_store

MakeRun = Callable[..., Any]
ReadRun = Callable[[Path], dict[str, Any]]
Document = dict[str, Any]
MERGE = {"merge_method": "task_arithmetic", "base_model": "zoo:base"}
WORDS = ["pvx", "hmgco", "tb", "kqa", "zyx", "bac", "dfe", "ihg"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Give torch's number of threads back; a local run sets it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def own_cache_of_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep code that is trusted out of the user's cache."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return items that ask for sorted words among three choices, in three splits."""
    rows = [
        {"prompt": f"s {word}=", "choices": ["".join(sorted(word)), word, word[::-1]], "answer": 0}
        | {"split": split}
        for split in ("search", "validation", "test")
        for word in (word + split[0] for word in WORDS)
    ]
    file = tmp_path_factory.mktemp("items") / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def document(items: Path) -> Callable[..., Document]:
    """Return make(genome, **changes) -> a run on two embedded models that takes seconds."""

    def make(genome: Document, **changes: Any) -> Document:
        return {
            "name": "paths",
            "seed": 1,
            "genome": {"models": ["zoo:sort", "zoo:reverse"], **genome},
            "tasks": [{"name": "sort", "evaluator": "multiple_choice", "data": str(items)}],
            "search": {"algorithm": "random", "evaluations": 8, "population": 4},
            "executor": {"name": "local", "threads": 1, "device": "cpu"},
            "finalists": 2,
            **changes,
        }

    return make


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, document: MakeRun) -> RunResult:
    """Return a run for layers, then scales; tests only read it."""
    search = {"algorithm": "random", "evaluations": 16, "population": 4}
    made = document({"space": "data_flow"}, search=search)
    return evolve(made, runs=tmp_path_factory.mktemp("staged"))


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def recipe(row: CandidateRow) -> Recipe:
    return parse_recipe(dict(row.recipe))[0]


@pytest.mark.parametrize(
    ("algorithm", "genome"),
    [
        ("catcma", {"space": "data_flow", "stages": False}),
        ("sep_cma", {"space": "data_flow", "repeats": 2, "scales": "network", "longest": 6}),
        ("sep_cma", {"space": "data_flow", "scales": "matrix", "input_scale_target": "delta"}),
        ("catcma", {"space": "depth_wise", "stages": False}),
        ("mixed_ga", {"space": "joint", "scales": "none", **MERGE}),
        ("random", {"space": "both", "scales": "none", **MERGE}),
        ("grid", {"space": "data_flow", "scales": "none", "exportable": False}),
    ],
)
def test_every_space_ends_in_a_verdict_and_a_folder_that_is_what_was_judged(
    algorithm: str, genome: Document, document: MakeRun, tmp_path: Path
) -> None:
    search = {"algorithm": algorithm, "evaluations": 8}
    sized = search if algorithm == "grid" else search | {"population": 4}
    result = evolve(document(genome, search=sized), runs=tmp_path)
    assert not [row.error for row in rows(result.folder, "search") if row.error]
    assert "differs" not in result.verdict.check
    assert "gives the same scores" in result.verdict.check
    labels = [line.label for line in result.verdict.lines]
    assert {"zoo:sort", "zoo:reverse", "uniform linear"} <= set(labels)
    paths = [row for row in rows(result.folder, "search") if is_path(recipe(row))]
    assert len(paths) == (4 if genome["space"] == "both" else 8)
    home: Any = "zoo:sort"
    if genome["space"] in ("both", "joint"):
        home = find_hops(recipe(paths[0]))[0].model
        assert isinstance(home, Recipe)
    assert find_hops(recipe(paths[0]))[0].model == home
    assert find_hops(recipe(paths[0]))[-1].model == home


def test_layers_come_first_and_scales_begin_at_the_validated_best(staged: RunResult) -> None:
    search = rows(staged.folder, "search")
    names = ["layers"] * 8 + ["grid of scales"] * 4 + ["free scales"] * 4
    assert [row.phase for row in search] == names
    assert [row.label for row in search] == [f"candidate {k}" for k in range(16)]
    assert [row.round for row in search] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    snapshots = rows(staged.folder, "snapshot")
    best = {}
    for number in (0, 1):
        listed = [row for row in snapshots if row.round == number]
        best[number] = max(listed, key=lambda row: (row.objective or 0.0, -row.number))
    layers = [(h.model, h.layer) for h in find_hops(recipe(best[0]))]
    assert all(h.scale == 1.0 for row in search[:8] for h in find_hops(recipe(row)))
    for row in search[8:]:
        assert [(h.model, h.layer) for h in find_hops(recipe(row))] == layers
    assert {h.scale for row in search[8:12] for h in find_hops(recipe(row))} <= {0.8, 1.0, 1.25}
    finalists = {row.label for row in rows(staged.folder, "validation")}
    assert {best[0].label, best[1].label} <= finalists


def test_what_paths_share_is_on_record_and_shown(
    staged: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    from evomerge.cli.show import command

    layers = [row.layers for row in rows(staged.folder, "search") if row.phase == "layers"]
    run, asked = (sum(column) for column in zip(*layers, strict=True))
    assert 0 < run < asked
    shown = {"pareto": False, "archive": False, "as_json": False}
    command(str(staged.folder), runs=Path("runs"), top=3, recipe=None, **shown)
    told = capsys.readouterr().out
    assert f"Layers (layers): {run:,} run of {asked:,} asked for" in " ".join(told.split())


def test_two_workers_find_what_one_finds(
    staged: RunResult, document: MakeRun, tmp_path: Path, read_run: ReadRun
) -> None:
    spread = {"name": "processes", "workers": 2, "threads": 1, "device": "cpu"}
    search = {"algorithm": "random", "evaluations": 16, "population": 4}
    made = document({"space": "data_flow"}, search=search, executor=spread)
    found, expected = read_run(evolve(made, runs=tmp_path).folder), read_run(staged.folder)
    assert found["candidates"] == expected["candidates"]
    assert found["scores"] == expected["scores"]


def test_winner_of_a_search_for_paths_loads_in_plain_transformers(staged: RunResult) -> None:
    from transformers import AutoModelForCausalLM

    assert staged.best is not None
    model = AutoModelForCausalLM.from_pretrained(staged.best)
    winner = recipe(rows(staged.folder, "test")[0])
    expected = len(find_hops(winner)) if is_path(winner) else 4
    assert model.config.num_hidden_layers == expected


def test_winner_that_no_ordinary_config_holds_is_kept_compact_and_is_what_was_judged(
    document: MakeRun, tmp_path: Path
) -> None:
    """The two models turn their queries and keys by other angles."""
    from transformers import AutoModelForCausalLM

    other = tmp_path / "other"
    shutil.copytree(locate("zoo:reverse"), other)
    config = json.loads((other / "config.json").read_text())
    config["rope_parameters"] = {**config["rope_parameters"], "rope_theta": 1234.0}
    (other / "config.json").write_text(json.dumps(config))
    genome = {"space": "depth_wise", "models": ["zoo:sort", str(other)], "skip": False}
    with pytest.raises(ConfigError, match=r"rope_parameters.rope_theta .*: a stock config"):
        evolve(document(genome), runs=tmp_path)
    result = evolve(document({**genome, "exportable": False}), runs=tmp_path)
    assert "gives the same scores on all" in result.verdict.check
    assert result.verdict.drift is None
    assert result.best is not None
    model, told = AutoModelForCausalLM.from_pretrained(
        result.best, trust_remote_code=True, output_loading_info=True
    )
    assert not any(told.values()), told
    winner = recipe(rows(result.folder, "test")[0])
    foreign = [k for k, hop in enumerate(find_hops(winner)) if hop.model == str(other)]
    assert foreign, "the winner is no mixture: try another seed"
    assert [*map(int, model.config.path_settings)] == foreign
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        AutoModelForCausalLM.from_pretrained(result.best)


@contextmanager
def counting(folder: Path, act: Callable[[], None], write: bool) -> Iterator[RunStore]:
    with open_store(folder, write=write) as store:
        store.on_commit = act
        yield store


def die_at(number: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Run an action in a forked child that is killed at a commit."""
    left = [number]

    def act() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs no threaded code
        patch.setattr(
            run_module, "open_store", lambda folder, *, write=False: counting(folder, act, write)
        )
        child = os.fork()
        if child == 0:
            try:
                action()
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "there is no such commit"


@pytest.mark.parametrize(
    ("algorithm", "space"),
    [("catcma", "data_flow"), ("cma", "both"), ("sep_cma", "depth_wise"), ("mixed_ga", "joint")],
)
def test_run_of_several_phases_killed_anywhere_ends_as_if_it_had_not_been(
    algorithm: str,
    space: str,
    tmp_path: Path,
    recipe_run: MakeRun,
    read_run: ReadRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = recipe_run(search={"algorithm": algorithm, "evaluations": 36, "population": 4})
    genome = run.document["genome"] | {"space": space}
    if space in ("data_flow", "depth_wise"):
        del genome["merge_method"], genome["layer_granularity"]
    made = {**run.document, "genome": genome}
    evolve(made, runs=tmp_path / "whole")
    whole = read_run(tmp_path / "whole" / "run")
    looked_at = sorted(run.evaluated())
    assert max(Counter(looked_at).values()) == 1
    stages = Counter(row[2] for row in whole["candidates"])
    assert stages["search"] == 36
    assert stages["snapshot"] > 0
    for number in range(5, 30, 5):
        run.log.unlink()
        runs = tmp_path / f"killed-{number}"
        die_at(number, monkeypatch, lambda runs=runs: evolve(made, runs=runs))
        resume("run", runs=runs)
        assert read_run(runs / "run") == whole, f"killed at commit {number}"
        assert sorted(run.evaluated()) == looked_at, f"killed at commit {number}"


def test_snapshot_that_failed_is_not_tried_again_by_the_next_sitting(
    tmp_path: Path, recipe_run: MakeRun
) -> None:
    """Else a resumed search would begin its next phase somewhere else."""
    run = recipe_run(search={"algorithm": "random", "evaluations": 16, "population": 4})
    genome = {k: run.document["genome"][k] for k in ("models",)} | {"space": "data_flow"}
    made = {**run.document, "genome": genome}
    judge = run.log.with_name("judge.py")
    text = judge.read_text()
    # validation items of the task `near` have x from 0.3 to 0.5; the first path asked is refused
    flag = f"Path({str(tmp_path / 'flag')!r})"
    spoil = f"""
    if items[0]["x"] in (0.3, 0.4, 0.5) and not {flag}.exists():
        {flag}.touch()
        raise RuntimeError("just this once")
"""
    head = "def judge(recipe, items):"
    judge.write_text(text.replace(f"{head}\n", f"{head}{spoil}"))
    result = evolve(made, runs=tmp_path)
    failed = [row for row in rows(result.folder, "snapshot") if row.error]
    assert [row.error for row in failed] == ["RuntimeError: just this once"]
    with closing(sqlite3.connect(result.folder / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running'")
    again = resume("run", runs=tmp_path)
    assert [row for row in rows(again.folder, "snapshot") if row.error] == failed
