"""Ancestry: one coefficient per founder and layer, in the order of the layers; sums of founders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evomerge.checkpoints.architecture import Layout
from evomerge.engine import Models
from evomerge.engine.stream import merge
from evomerge.genome import AncestrySpace
from evomerge.recipe import parse_recipe

MakeModel = Callable[..., Path]
LAYOUT = Layout(
    "model.layers.",
    3,
    ("mlp.weight", "self_attn.weight"),
    ("model.embed_tokens.weight",),
    ("lm_head.weight", "model.norm.weight"),
    None,
)


def test_genes_follow_the_layers_and_the_head_comes_last() -> None:
    names = [gene.name for gene in AncestrySpace(["a", "b"], LAYOUT).space.genes]
    groups = [name.partition("/")[2].removesuffix("/rest") for name in names]
    layers = ["layers 0-0", "layers 1-1", "layers 2-2"]
    assert groups == [g for g in ("embeddings", *layers, "head") for _ in "ab"]
    assert [name.partition("/")[0] for name in names] == ["weight.0", "weight.1"] * 5


@pytest.mark.parametrize(
    ("settings", "genes"),
    [({"layer_granularity": 2}, 8), ({"own_embeddings": False}, 6), ({"layer_granularity": 9}, 6)],
)
def test_layer_groups_are_as_large_as_asked_for(settings: dict[str, int], genes: int) -> None:
    assert len(AncestrySpace(["a", "b"], LAYOUT, **settings).space) == genes  # type: ignore[arg-type]  # one of them at a time


def test_a_search_begins_with_equal_parts_and_knows_each_founder_alone() -> None:
    space = AncestrySpace(["a", "b", "c", "d"], LAYOUT).space
    assert set(space.decode(space.start()).values()) == {0.25}
    assert list(space.known) == ["a", "b", "c", "d"]
    for k, point in enumerate(space.known.values()):
        found = np.reshape(list(space.decode(point).values()), (5, 4))
        assert np.array_equal(found, np.tile(np.arange(4) == k, (5, 1)))


def test_any_genome_is_one_sum_of_the_founders_and_reads_back() -> None:
    ancestry = AncestrySpace(["a", "b"], LAYOUT, dtype="float32", tokenizer_source="base")
    point = np.random.default_rng(0).random(len(ancestry.space))
    recipe = ancestry.decode(point)
    assert recipe.method == "linear"
    assert recipe.models == ("a", "b")
    assert not recipe.recipes
    assert parse_recipe(recipe.to_document())[0] == recipe
    weights = list(ancestry.space.decode(point).values())[2:4]
    rules = [source.parameters[0][1].rules[-1] for source in recipe.slices[0].sources]
    assert [rule.values[0] for rule in rules] == weights


def test_a_founder_alone_is_the_founder(tiny_llama: MakeModel, tmp_path: Path) -> None:
    founders = [str(tiny_llama(seed)) for seed in (1, 2, 3)]
    ancestry = AncestrySpace(founders, Models().layout(founders[0]))
    merge(ancestry.decode(ancestry.space.known[founders[1]]), tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    wanted = load_file(Path(founders[1]) / "model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_metric_is_made_once_when_it_is_first_asked_for() -> None:
    asked: list[AncestrySpace] = []

    def measure(ancestry: AncestrySpace) -> "np.typing.NDArray[np.float64]":
        asked.append(ancestry)
        return np.eye(len(ancestry.space))

    ancestry = AncestrySpace(["a", "b"], LAYOUT, measure=measure)
    assert not asked
    assert ancestry.space.metric is ancestry.space.metric
    assert asked == [ancestry]
