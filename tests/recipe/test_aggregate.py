"""Several merges made one: the result is the weighted average of their results."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evomerge.engine.stream import merge
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.aggregate import aggregate

MakeModel = Callable[..., Path]


def read(*models: str, weights: Sequence[float]) -> Recipe:
    sources = [
        {"model": model, "parameters": {"weight": weight}}
        for model, weight in zip(models, weights, strict=True)
    ]
    return parse_recipe({"merge_method": "linear", "models": sources, "dtype": "float32"})[0]


@pytest.mark.parametrize("weights", [None, [1.0, 3.0]])
def test_result_is_the_weighted_average_of_the_results(
    tiny_llama: MakeModel, tmp_path: Path, weights: list[float] | None
) -> None:
    models = [str(tiny_llama(seed, dtype="float32")) for seed in (1, 2)]
    recipes = [read(*models, weights=parts) for parts in ([0.2, 0.8], [0.9, 0.1])]
    folders = [tmp_path / name for name in ("one", "other", "both")]
    for recipe, folder in zip([*recipes, aggregate(recipes, weights)], folders, strict=True):
        merge(recipe, folder)
    one, other, both = (load_file(folder / "model.safetensors") for folder in folders)
    share = 0.25 if weights else 0.5
    for name, tensor in both.items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, share * one[name] + (1 - share) * other[name], atol=1e-6)


def test_what_weighs_nothing_is_left_out_and_all_zeros_count_alike() -> None:
    recipes = [read("a", "b", weights=[k / 4, 1 - k / 4]) for k in range(3)]
    assert aggregate(recipes, [1.0, 0.0, 1.0]).inputs == (recipes[0], recipes[2])
    assert aggregate(recipes, [0.0, 0.0, 0.0]) == aggregate(recipes)
    assert parse_recipe(aggregate(recipes).to_document())[0] == aggregate(recipes)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    recipes = [read("a", "b", weights=[0.5, 0.5])] * 2
    with pytest.raises(ValueError, match="an average needs recipes, and a weight >= 0 for each"):
        aggregate(recipes, weights)
