"""A small run on the embedded models: killed, resumed, spread over workers, and its winner."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evomerge.evolve import RunResult, evolve, resume

ReadRun = Callable[[Path], dict[str, Any]]
KILLS = 5

pytestmark = pytest.mark.slow

DRIVER = """
import json, os, signal, sys
from contextlib import contextmanager
import evomerge.checkpoints.loading
import evomerge.inference.transformers_model
import transformers.models.llama.modeling_llama
import evomerge.evolve.run as run

document, runs, numbers = json.loads(sys.argv[1])
open_store = run.open_store


def start(number, folder):
    commits = [0]

    def step():
        commits[0] += 1
        if commits[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def open_mortal(place, *, write=False):
        with open_store(place, write=write) as store:
            store.on_commit = step
            yield store

    run.open_store = open_mortal
    run.evolve(document, runs=folder)


for number in numbers:
    child = os.fork()
    if child == 0:
        start(number, os.path.join(runs, str(number)))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Give torch's number of threads back; a local run sets it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, zoo_document: dict[str, Any]) -> RunResult:
    """Return an uninterrupted run; tests only read it."""
    return evolve(zoo_document, runs=tmp_path_factory.mktemp("whole"))


def kill_at_commits(document: dict[str, Any], runs: Path, numbers: list[int]) -> None:
    package = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps([document, str(runs), numbers])],
        env={**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )


def test_run_killed_at_random_commits_ends_in_the_same_scores_and_winner(
    tmp_path: Path, zoo_document: dict[str, Any], whole: RunResult, read_run: ReadRun
) -> None:
    expected = read_run(whole.folder)
    commits = 30  # before the test stage of this run, which makes more than 40
    numbers = sorted(random.Random(5).sample(range(2, commits), KILLS))
    kill_at_commits(zoo_document, tmp_path, numbers)
    for number in numbers:
        result = resume("zoo", runs=tmp_path / str(number))
        assert read_run(result.folder) == expected, f"killed at commit {number}"
        assert result.best is not None
        weights = result.best / "model.safetensors"
        assert weights.read_bytes() == (whole.folder / "best/model.safetensors").read_bytes()


def test_two_workers_find_what_one_finds(
    tmp_path: Path, zoo_document: dict[str, Any], whole: RunResult, read_run: ReadRun
) -> None:
    spread = {"name": "processes", "workers": 2, "threads": 1, "device": "cpu"}
    result = evolve({**zoo_document, "executor": spread}, runs=tmp_path)
    found, expected = read_run(result.folder), read_run(whole.folder)
    assert found["candidates"] == expected["candidates"]
    assert found["scores"] == expected["scores"]
    assert result.verdict == whole.verdict


def test_winner_loads_and_answers_as_the_verdict_says(
    zoo_document: dict[str, Any], whole: RunResult
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evomerge.checkpoints.loading import find_arithmetic
    from evomerge.evaluation import read_items
    from evomerge.inference.transformers_model import TransformersModel

    torch.set_num_threads(1)
    arithmetic = getattr(torch, find_arithmetic("bfloat16", "cpu"))
    model = AutoModelForCausalLM.from_pretrained(whole.best, dtype=arithmetic).eval()
    tokenizer = AutoTokenizer.from_pretrained(whole.best)
    live = TransformersModel(model, tokenizer)
    winner = whole.verdict.lines[0]
    for task in zoo_document["tasks"]:
        name, longest = task["name"], task["max_new_tokens"]
        limits = zoo_document["items"]
        items = read_items(name, task["data"], seed=zoo_document["seed"], limits=limits)["test"]
        prompts = [item.fields["prompt"] for item in items]
        answers = live.generate(prompts, max_new_tokens=longest)
        right = [a == item.fields["target"] for a, item in zip(answers, items, strict=True)]
        assert sum(right) / len(right) == winner.tasks[name].mean
        for prompt, answer in zip(prompts[:4], answers[:4], strict=True):  # plain transformers
            ids = tokenizer(prompt, return_tensors="pt")
            made = model.generate(**ids, max_new_tokens=longest, do_sample=False)[0]
            text = tokenizer.decode(made[ids.input_ids.shape[1] :], skip_special_tokens=True)
            assert text == answer


def test_winner_folder_holds_what_a_reader_needs(whole: RunResult) -> None:
    assert whole.best is not None
    names = {path.name for path in whole.best.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert "mergekit_config.yml" in names
    assert whole.verdict.sentence in (whole.best / "README.md").read_text()
    assert not [path for path in whole.folder.iterdir() if path.name.startswith(".")]
