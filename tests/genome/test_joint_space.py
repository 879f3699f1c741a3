"""Both spaces in one genome: a path with a merge on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import Layout
from evomerge.genome import DataFlowSpace, DepthWiseSpace, ParameterSpace
from evomerge.genome.joint_space import MERGE, JointSpace
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.path import find_hops

LAYOUT = Layout("model.layers.", 3, ("mlp.weight",), ("embed.weight",), ("norm.weight",), None)
POOL: dict[str | Recipe, int] = {MERGE: 3, "b": 4}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.sampled_from([DataFlowSpace, DepthWiseSpace]))
def test_every_point_is_a_path_with_its_merge_in_the_place_of_the_pools(
    seed: int, kind: type[DataFlowSpace] | type[DepthWiseSpace]
) -> None:
    merge = ParameterSpace(["a", "b"], "linear", LAYOUT, layer_granularity=1)
    path = kind(POOL)
    genome = JointSpace(merge, path)
    point = np.random.default_rng(seed).random(len(genome.space))
    recipe = genome.decode(point)
    merged = merge.decode(point[: len(merge.space)])
    told = find_hops(path.decode(point[len(merge.space) :]))
    hops = find_hops(recipe, {merged: 3, "b": 4})
    assert [hop.model for hop in hops] == [merged if h.model == MERGE else "b" for h in told]
    assert [(h.layer, h.scale) for h in hops] == [(h.layer, h.scale) for h in told]
    assert recipe.models == ("a", "b")
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_a_genome_of_another_length_is_refused() -> None:
    genome = JointSpace(ParameterSpace(["a", "b"], "linear", LAYOUT), DataFlowSpace(POOL))
    with pytest.raises(ValueError, match="genome has shape"):
        genome.decode(np.zeros(len(genome.space) - 1))
