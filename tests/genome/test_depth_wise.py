"""Depth-wise genomes: one choice of layers and one scale at every depth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.genome.depth_wise import DepthWiseSpace
from evomerge.recipe import parse_recipe
from evomerge.recipe.path import Hop, find_hops

POOL: dict[Any, int] = {"a": 4, "b": 7}


def hops_of(genome: DepthWiseSpace, **changes: Any) -> tuple[Hop, ...]:
    """Decode the point where a search begins, with some genes changed."""
    values = {gene.name: gene.start for gene in genome.space.genes}
    assert changes.keys() <= values.keys()
    point = genome.space.encode(values | changes)  # type: ignore[arg-type]  # every gene has a start
    return find_hops(genome.decode(point), POOL)


def test_a_search_begins_at_the_first_model_as_it_is() -> None:
    assert hops_of(DepthWiseSpace(POOL)) == tuple(Hop("a", layer) for layer in range(4))


def test_layers_at_a_depth_run_in_turn_and_the_first_is_scaled() -> None:
    changes = {"layers/1": "1>0", "scale/1": 0.75, "layers/2": "", "layers/3": "1>0"}
    hops = hops_of(DepthWiseSpace(POOL), **changes)
    expected = (Hop("a", 0), Hop("b", 2, 0.75), Hop("a", 1), Hop("b", 6), Hop("a", 3))
    assert hops == expected


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_point_is_a_path_between_the_first_models_ends(data: st.DataObject) -> None:
    depths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=3))
    together = data.draw(st.integers(1, len(depths)))
    genome = DepthWiseSpace(
        {f"model {k}": depth for k, depth in enumerate(depths)},
        together=together,
        skip=data.draw(st.booleans()),
        target="delta",
    )
    point = np.random.default_rng(data.draw(st.integers(0, 99))).random(len(genome.space))
    recipe = genome.decode(point)
    hops = find_hops(recipe)
    assert (hops[0].model, hops[0].layer) == ("model 0", 0)
    assert (hops[-1].model, hops[-1].layer) == ("model 0", depths[0] - 1)
    assert len(hops) <= depths[0] * together
    places = {f"model {k}": depth for k, depth in enumerate(depths)}
    assert all(hop.layer < places[str(hop.model)] for hop in hops)
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_what_may_be_chosen_at_a_depth() -> None:
    genome = DepthWiseSpace(POOL, scaled=False)
    choices = {gene.name: gene.choices for gene in genome.space.genes}
    assert choices == {
        "layers/0": ("0", "0>1"),
        "layers/1": ("0", "1", "0>1", "1>0", ""),
        "layers/2": ("0", "1", "0>1", "1>0", ""),
        "layers/3": ("0", "1>0"),
    }


@pytest.mark.parametrize(
    ("pool", "changes", "message"),
    [
        ({"a": 4}, {}, "genome.models: expected at least two models with layers"),
        (
            {"a": 2, "b": 2},
            {"together": 1, "scaled": False},
            "genome.models: there is nothing to search: .* put a deeper one first",
        ),
        ({"a": 1, "b": 9}, {"scaled": False}, "genome.models: there is nothing to search"),
        (POOL, {"together": 0}, "genome.together: expected a number from 1 to 2, .* not 0"),
        (POOL, {"together": 10**9}, "genome.together: expected a number from 1 to 2, .* not 1000"),
        (
            {f"model {k}": 4 for k in range(9)},
            {"together": 9},
            "genome.together: 9 models follow each other in 986,409 ways, more than 2,000: choose",
        ),
        (POOL, {"scale_range": (-0.5, 1.5)}, "genome.scale_range: expected 0 < low"),
    ],
)
def test_settings_that_no_path_satisfies_are_refused(
    pool: dict[Any, int], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DepthWiseSpace(pool, **changes)
