"""Threads: the same bits for any number of them, and nobody is left running."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evomerge.engine import Models, make_plan, merge
from evomerge.engine.plan import TensorPlan
from evomerge.engine.tensor import Workbench
from evomerge.engine.threads import MOST, Interrupted, Threads
from evomerge.errors import CheckpointError
from evomerge.recipe import parse_recipe

MakeFamily = Callable[..., Path]


def document(method: str, base: Path, *models: Path) -> dict[str, Any]:
    return {
        "merge_method": method,
        "base_model": str(base),
        "models": [{"model": str(model)} for model in models],
        "parameters": {"weight": 0.6, "density": 0.5},
    }


@pytest.mark.parametrize("method", ["ties", "dare_ties", "della"])
def test_any_number_of_threads_gives_the_same_file(
    tiny_model: MakeFamily, tmp_path: Path, method: str
) -> None:
    recipe = document(method, *(tiny_model("llama", seed) for seed in range(3)))
    files = []
    for threads in (1, 2, 5):
        folder = merge(recipe, tmp_path / str(threads), threads=threads, shard_bytes=4_000)
        files.append({file.name: file.read_bytes() for file in folder.glob("model*")})
    assert files[0] == files[1] == files[2]
    assert len(files[0]) > 2


def plan_tensors(*models: Path) -> tuple[Models, tuple[TensorPlan, ...]]:
    opened = Models()
    return opened, make_plan(parse_recipe(document("ties", *models))[0], opened).tensors


def test_a_failure_stops_the_others(tiny_model: MakeFamily) -> None:
    models, tensors = plan_tensors(tiny_model("llama", 0), tiny_model("llama", 1))
    threads = Threads(2, lambda: Workbench(models))
    stopped = []

    def work(tensor: TensorPlan, _: Workbench) -> None:
        if tensor is max(tensors, key=lambda t: t.shape):
            raise CheckpointError("this one is broken")
        try:
            while True:
                threads.check()
        except Interrupted:
            stopped.append(tensor.name)
            raise

    with pytest.raises(CheckpointError, match="this one is broken"):
        list(threads.run(tensors, work))
    assert len(stopped) <= 2
    assert not [t for t in threading.enumerate() if t.name.startswith("merge")]


def test_no_more_threads_are_begun_than_any_machine_can_use(tiny_model: MakeFamily) -> None:
    models, tensors = plan_tensors(tiny_model("llama", 0), tiny_model("llama", 1))
    most = 0

    def work(_: TensorPlan, __: Workbench) -> None:
        nonlocal most
        most = max(most, sum(t.name.startswith("merge") for t in threading.enumerate()))
        time.sleep(0.002)  # so that idle threads are not met again

    many = tensors * (2 * MOST // len(tensors) + 1)
    assert len(list(Threads(10**9, lambda: Workbench(models)).run(many, work))) > MOST
    assert 1 < most <= MOST


def test_torch_gets_its_threads_back(tiny_model: MakeFamily) -> None:
    models, tensors = plan_tensors(tiny_model("llama", 0), tiny_model("llama", 1))
    before, seen = torch.get_num_threads(), set()

    def work(_: TensorPlan, __: Workbench) -> None:
        seen.add(torch.get_num_threads())

    try:
        torch.set_num_threads(2)
        done = list(Threads(1, lambda: Workbench(models)).run(tensors, work))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
    assert {t.name for t in done} == {t.name for t in tensors}
