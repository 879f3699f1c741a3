"""Candidates averaged: in proportion to their scores, and not where they are paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evomerge.config import parse_config
from evomerge.errors import OutputError, StoreError
from evomerge.evolve.aggregation import average
from evomerge.store import CandidateRow, RunRow

MakeModel = Callable[..., Path]


def candidate(number: int, objective: float, recipe: dict[str, Any]) -> CandidateRow:
    label = f"candidate {number}"
    return CandidateRow(
        number, 0, "search", label, None, recipe, label, "done", objective, 4, "", {}
    )


@pytest.fixture
def run(tiny_llama: MakeModel) -> RunRow:
    models = [str(tiny_llama(seed, dtype="float32")) for seed in (1, 2)]
    task = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort"}
    genome = {"models": models, "merge_method": "linear"}
    config = parse_config({"genome": genome, "tasks": [task]}).model_dump(mode="json")
    return RunRow("kind", config, 0, {}, {}, "finished", 0.0, 1.0, None, 1.0, 1.0, {})


@pytest.mark.parametrize(
    ("scores", "weighted", "share"),
    [([0.9, 0.3], True, 0.75), ([0.9, 0.3], False, 0.5), ([-1.0, -3.0], True, 1.0)],
)
def test_average_weighs_every_candidate_alike_or_by_its_score(
    run: RunRow, tmp_path: Path, scores: list[float], weighted: bool, share: float
) -> None:
    models = run.config["genome"]["models"]
    recipes = [{"merge_method": "passthrough", "models": [{"model": m}]} for m in models]
    rows = [candidate(k, score, recipes[k]) for k, score in enumerate(scores)]
    folder = average(run, rows, tmp_path, weighted=weighted)
    assert folder == tmp_path / "aggregate"
    found, one, other = (
        load_file(Path(place) / "model.safetensors") for place in (folder, *models)
    )
    for name, tensor in found.items():
        assert torch.allclose(tensor, share * one[name] + (1 - share) * other[name], atol=1e-6)
    assert "candidate 0, candidate 1. It was not measured itself." in (
        (folder / "README.md").read_text()
    )
    with pytest.raises(OutputError, match="aggregate"):
        average(run, rows, tmp_path)


def test_paths_have_no_average(run: RunRow, tmp_path: Path) -> None:
    sources = [{"model": run.config["genome"]["models"][0], "layer_range": [0, 2]}]
    path = {
        "merge_method": "passthrough",
        "slices": [{"sources": sources}, {"sources": sources, "input_scale": 0.9}],
    }
    with pytest.raises(StoreError, match="some of them are paths through layers: these have no"):
        average(run, [candidate(0, 0.5, path)], tmp_path)
    assert not (tmp_path / "aggregate").exists()
