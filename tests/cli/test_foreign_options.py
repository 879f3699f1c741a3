"""Command lines for mergekit-evolve and LLM-Evo-Merge: what each flag does, and what is refused."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evomerge.cli.foreign_options import ForeignOptions, Strategy
from evomerge.recipe import load_recipe, parse_recipe, write_yaml
from evomerge.store import open_store

Run = Callable[..., Any]
WriteRun = Callable[..., Path]
IDLE = (
    "--in-memory", "--vllm", "--num-gpus", "2", "--no-merge-cuda", "--trust-remote-code",
    "--allow-crimes", "--batch-size", "auto", "--load-in-4bit", "--quantization-config", "x",
    "--wandb", "--wandb-project", "p", "--wandb-entity", "e", "--no-reshard",
)  # fmt: skip


def warnings(answer: Any) -> list[str]:
    return [line for line in answer.err.splitlines() if line.startswith("warning: ")]


def stored(folder: Path) -> dict[str, Any]:
    with open_store(folder) as store:
        run = store.run()
    assert run is not None
    return dict(run.config)


def test_every_flag_of_mergekit_evolve_is_understood(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(search={"algorithm": "cma"})
    answer = evomerge(
        "evolve", "first.yml", "--storage-path", "out/deep", "--strategy", "serial",
        "--max-fevals", "10", "--sigma0", "0.2", "--force-population-size", "5",
        "--random-seed", "3", "--timeout", "600", "--no-save-final-model",
        "--task-search-path", ".", *IDLE,
        "--i-understand-the-depths-of-the-evils-i-am-unleashing",
    )  # fmt: skip
    assert answer.code == 2  # this run has no task for such options
    assert "task_search_path: no task of this run has such an option" in answer.err
    answer = evomerge(
        "evolve", "first.yml", "--storage-path", "out/deep", "-s", "serial",
        "--max-fevals", "10", "--sigma0", "0.2", "--force-population-size", "5",
        "--random-seed", "3", "--timeout", "600", "--no-save-final-model", *IDLE,
        "--i-understand-the-depths-of-the-evils-i-am-unleashing",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (idle,) = [line for line in warnings(answer) if "without effect" in line]
    for flag in IDLE:
        assert not flag.startswith("--") or flag in idle
    config = stored(tmp_path / "out" / "deep")
    assert (config["name"], config["seed"], config["export"]) == ("deep", 3, False)
    assert config["executor"]["name"] == "local"
    assert config["i_know_this_is_the_test_set"]
    assert config["search"] == {
        "algorithm": "cma", "evaluations": 10, "seconds": 600.0, "sigma": 0.2, "population": 5,
    }  # fmt: skip
    assert load_recipe(tmp_path / "out" / "deep" / "best_config.yaml").method == "linear"


@pytest.mark.parametrize("strategy", [*Strategy])
def test_strategies_are_executors(strategy: Strategy) -> None:
    executor = ForeignOptions(strategy=strategy).changes()["executor"]["name"]
    assert executor == ("local" if strategy == "serial" else "processes")


def test_flags_of_llm_evo_merge_choose_its_searcher_and_no_key_is_kept(
    evomerge: Run, write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "old")
    write_run(search={"algorithm": "llm", "backend": "mock"})
    answer = evomerge(
        "evolve", "first.yml", "--storage-path", "out", "--max-generation", "2", "--sigma0", "0.1",
        "--sigma-low", "0.01", "--sigma-high", "0.3", "--max-retries", "1", "--api-key", "sk-123",
        "--llm-model", "small", "--llm-base-url", "http://127.0.0.1:9/v1",
        "--force-population-size", "4",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "--sigma0 (a language model has --sigma-low and --sigma-high)" in answer.err
    assert os.environ["OPENAI_API_KEY"] == "sk-123"
    assert stored(tmp_path / "out")["search"] == {
        "algorithm": "llm", "backend": "mock", "evaluations": 8, "max_generation": 2,
        "sigma_low": 0.01, "sigma_high": 0.3, "max_retries": 1, "model": "small",
        "base_url": "http://127.0.0.1:9/v1", "population": 4, "seconds": None,
    }  # fmt: skip
    for file in (tmp_path / "out").iterdir():
        assert b"sk-123" not in file.read_bytes()
    assert "sk-123" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--storage-path", "first.yml"], "--storage-path: first.yml is a file; name the folder"),
        (
            ["--storage-path", "out", "--name", "a"],
            "--storage-path: is the run's folder; leave out",
        ),
        (
            ["--storage-path", "out", "--runs", "a"],
            "--storage-path: is the run's folder; leave out",
        ),
        (["--load-in-4bit", "--load-in-8bit"], "--load-in-4bit: contradicts --load-in-8bit"),
        (["-s", "serial", "--workers", "2"], "--strategy: serial is one worker, not 2; leave out"),
        (
            ["--algorithm", "cma", "--llm-model", "x"],
            "--llm-model: is for `--algorithm llm`, not cma; leave one of them out",
        ),
        (
            ["--algorithm", "cmaes"],
            "search.algorithm: unknown searcher 'cmaes' (did you mean 'cma'",
        ),
        (["--storage-path", ".hid"], "--storage-path: .hid cannot be a run's folder; name one, w"),
        (["--storage-path", "/"], "--storage-path: / cannot be a run's folder; name one, without"),
        (["--force-population-size", "1"], "--force-population-size: expected at least 2, not 1"),
        (["--force-population-size", "3"], "search: cma needs a population of at least 4"),
        (["--sigma0", "0"], "--sigma0: expected more than 0, at most 10, not 0"),
        (["--sigma0", "nan"], "--sigma0: expected more than 0, at most 10, not nan"),
        (["--max-generation", "0"], "--max-generation: expected at least 1, not 0"),
        (["--sigma-low", "-1"], "--sigma-low: expected more than 0, at most 1, not -1"),
        (
            ["--sigma-low", "0.3", "--sigma-high", "0.2"],
            "--sigma-low: 0.3 is above --sigma-high, 0.2",
        ),
        (["--max-retries", "-1"], "--max-retries: expected at least 0, not -1"),
        (["--timeout", "-3"], "--seconds, or --timeout: expected more than 0 seconds, not -3"),
        (["--set", "search.sgima=1"], "search.sgima: unknown key 'sgima' (did you mean 'sigma'?)"),
        (["--set", "serch.sigma=1"], "serch: unknown key 'serch' (did you mean 'search'?)"),
        (["--start", "nowhere.yaml"], "nowhere.yaml is no file"),
        (["--start", "."], "holds no best_config.yaml and no mergekit_config.yml"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    arguments: list[str], message: str, evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(search={"algorithm": "cma"})
    answer = evomerge("evolve", "first.yml", *arguments)
    assert answer.code == 2
    assert message in answer.error
    assert not list(tmp_path.rglob("store.db"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-fevals", "0"], "Error: Invalid value for '--evaluations' / '--max-fevals'"),
        (["--strategy", "ray"], "Error: Invalid value for '--strategy' / '-s'"),
        (["--set", "search.sigma"], "'search.sigma' is no setting; write search.sigma=0.1"),
    ],
)
def test_slips_of_the_command_line_are_told(
    arguments: list[str], message: str, evomerge: Run, write_run: WriteRun
) -> None:
    write_run()
    answer = evomerge("evolve", "first.yml", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_run_that_exists_there_is_not_touched(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run()
    assert evomerge("evolve", "first.yml", "--storage-path", "out").code == 0
    answer = evomerge("evolve", "first.yml", "--storage-path", "out")
    assert answer.code == 1
    assert answer.error.startswith(f"the run 'out' exists already in {tmp_path}. Go on with")
    assert f"`evomerge resume {tmp_path / 'out'}`" in answer.error
    assert evomerge("resume", str(tmp_path / "out")).code == 0


def test_folder_with_files_of_the_user_is_no_run_s_folder(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    file = write_run().rename(tmp_path / "config.yml")
    mine = file.read_bytes()
    for place in (["--storage-path", "."], ["--runs", "..", "--name", tmp_path.name]):
        answer = evomerge("evolve", "config.yml", *place)
        assert answer.code == 1
        assert "holds config.yml, which a run would replace. Name another folder" in answer.error
        assert file.read_bytes() == mine
        assert not (tmp_path / "store.db").exists()
    assert evomerge("evolve", "config.yml", "--runs", ".", "--name", "out").code == 0
    assert file.read_bytes() == mine


def test_run_that_was_killed_is_interrupted(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run()
    assert evomerge("evolve", "first.yml", "--storage-path", "out").code == 0
    with closing(sqlite3.connect(tmp_path / "out" / "store.db")) as killed, killed:
        killed.execute("UPDATE run SET state = 'running', finished = NULL, verdict = NULL")
    assert "interrupted" in evomerge("runs", "--runs", ".").out
    assert "out: interrupted, 8 of 8" in evomerge("show", "out", "--runs", ".").out
    with open_store(tmp_path / "out", write=True):
        assert "running" in evomerge("runs", "--runs", ".").out


def test_another_algorithm_leaves_out_what_it_has_no_use_for(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(search={"algorithm": "cma", "evaluations": 4, "sigma": 0.2, "mean": 0.4})
    answer = evomerge("evolve", "first.yml", "--algorithm", "random", "--set", "items.search=2")
    assert answer.code == 0, answer.err
    assert "warning: left out of the run file's `search`: sigma, mean" in answer.err
    config = stored(tmp_path / "runs" / "first")
    assert (config["search"]["algorithm"], config["search"]["evaluations"]) == ("random", 4)
    assert config["items"]["search"] == 2


def test_search_ends_in_time_and_the_run_goes_on_to_its_verdict(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(search={"algorithm": "cma", "population": 4})
    answer = evomerge("evolve", "first.yml", "--evaluations", "1000", "--timeout", "0.0001")
    assert answer.code == 0, answer.err
    assert "warning: 4 of 1000 candidates were tried in time" in answer.err
    with open_store(tmp_path / "runs" / "first") as store:
        assert len(store.candidates("search")) == 4
        before = store.candidates("test")
    with closing(sqlite3.connect(tmp_path / "runs" / "first" / "store.db")) as killed, killed:
        killed.execute("UPDATE run SET state = 'running', finished = NULL, verdict = NULL")
        killed.execute("DELETE FROM candidates WHERE stage IN ('validation', 'test')")
    assert evomerge("resume", "first").code == 0
    with open_store(tmp_path / "runs" / "first") as store:
        assert len(store.candidates("search")) == 4
        assert [r.recipe for r in store.candidates("test")] == [r.recipe for r in before]


def test_search_begins_at_what_another_one_found(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(search={"algorithm": "cma", "mean": 0.4, "evaluations": 8})
    assert evomerge("evolve", "first.yml", "--name", "one").code == 0
    found = load_recipe(tmp_path / "runs" / "one" / "best_config.yaml")
    answer = evomerge("evolve", "first.yml", "--name", "two", "--start", "runs/one")
    assert answer.code == 0, answer.err
    assert "left out of the run file's `search`: mean" in answer.err
    with open_store(tmp_path / "runs" / "two") as store:
        first = store.candidates("search")[0]
    assert parse_recipe(dict(first.recipe))[0] == found
    kept = stored(tmp_path / "runs" / "two")["genome"]["start"]
    assert parse_recipe(kept)[0] == found  # the file may go


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        ({"merge_method": "ties"}, "its merge_method is linear, the genome's is ties"),
        ({"layer_granularity": 4}, "layer_granularity, filters or smooth differ"),
        ({"models": [2, 3]}, "which is no model of the genome"),
    ],
)
def test_start_that_does_not_fit_is_refused_before_anything_is_written(
    genome: dict[str, Any], message: str, evomerge: Run, write_run: WriteRun, tmp_path: Path,
    tiny_llama: Callable[..., Path],
) -> None:  # fmt: skip
    models = [str(tiny_llama(seed)) for seed in genome.pop("models", [1, 2])]
    parts = [
        {"model": model, "layer_range": span, "parameters": {"weight": 0.1 * (1 + span[0])}}
        for span in ([0, 2], [2, 4])
        for model in [str(tiny_llama(1)), str(tiny_llama(2))]
    ]
    start = {"merge_method": "linear", "slices": [{"sources": parts[:2]}, {"sources": parts[2:]}]}
    (tmp_path / "found.yaml").write_text(write_yaml(start))
    if genome.get("merge_method") == "ties":
        genome["base_model"] = str(tiny_llama(3))
    write_run(genome={**genome, "models": models})
    answer = evomerge("evolve", "first.yml", "--start", "found.yaml")
    assert answer.code == 2
    assert "genome.start: no genome is this merge: " in answer.error
    assert message in answer.error
    assert not list(tmp_path.rglob("store.db"))
