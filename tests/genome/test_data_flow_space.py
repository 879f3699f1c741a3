"""Genomes of paths: every point is a path within bounds, from the first model's end to its end."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.genome.data_flow_space import SCALES, DataFlowSpace, ScaleForm
from evomerge.genome.hop_scales import HIDDEN, INPUTS
from evomerge.recipe import parse_recipe
from evomerge.recipe.path import Hop, find_hops

POOL: dict[Any, int] = {"a": 4, "b": 6}
FORMS: list[ScaleForm] = list(SCALES)


def start_of(genome: DataFlowSpace, **changes: Any) -> Any:
    """Return the point where a search begins, with some genes changed."""
    values = {gene.name: gene.start for gene in genome.space.genes}
    assert changes.keys() <= values.keys()
    return genome.space.encode(values | changes)  # type: ignore[arg-type]  # every gene has a start


def hops_of(genome: DataFlowSpace, **changes: Any) -> tuple[Hop, ...]:
    return find_hops(genome.decode(start_of(genome, **changes)), POOL)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_point_is_a_path_within_bounds(data: st.DataObject) -> None:
    depths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=3))
    longest = data.draw(st.integers(2, 12))
    distinct = data.draw(st.integers(2, sum(depths)))
    shortest = data.draw(st.integers(1, min(longest, distinct, depths[0])))
    genome = DataFlowSpace(
        {f"model {k}": depth for k, depth in enumerate(depths)},
        repeats=data.draw(st.integers(1, 3)),
        scales=data.draw(st.sampled_from(FORMS)),
        scale_range=(0.4, 1.5),
        shortest=shortest,
        longest=longest,
        most_distinct=distinct,
    )
    point = np.random.default_rng(data.draw(st.integers(0, 99))).random(len(genome.space))
    recipe = genome.decode(point)
    hops = find_hops(recipe)
    assert (hops[0].model, hops[0].layer) == ("model 0", 0)
    assert (hops[-1].model, hops[-1].layer) == ("model 0", depths[0] - 1)
    assert shortest <= len(hops) <= longest
    assert len({(hop.model, hop.layer) for hop in hops}) <= distinct
    assert all(0.4 <= hop.scale <= 1.5 for hop in hops)
    assert parse_recipe(recipe.to_document()) == (recipe, [])


@pytest.mark.parametrize("scales", FORMS)
def test_a_search_begins_at_the_first_model_as_it_is(scales: ScaleForm) -> None:
    genome = DataFlowSpace(POOL, repeats=3, scales=scales)
    assert hops_of(genome) == tuple(Hop("a", layer) for layer in range(4))


def test_the_first_models_layers_are_likely_and_expected_paths_are_within_bounds() -> None:
    genome = DataFlowSpace({"a": 32, "b": 32}, repeats=3, scales="none")
    chances = {gene.name: gene.chances[1] for gene in genome.space.genes}
    assert len(chances) == 3 * 64 - 1
    own = [chance for name, chance in chances.items() if name.startswith("path.0/0.")]
    assert own == [0.98] * 31
    assert sum(chances.values()) < genome.longest == 51
    assert all(math.isclose(sum(g.chances), 1.0) for g in genome.space.genes)


def test_chosen_slots_are_run_in_their_order_and_the_end_is_appended() -> None:
    genome = DataFlowSpace(POOL, repeats=2, scales="none")
    changes = {"path.0/1.5": True, "path.1/0.1": True, "path.0/0.2": False}
    layers = [(hop.model, hop.layer) for hop in hops_of(genome, **changes)]
    assert layers == [("a", 0), ("a", 1), ("a", 3), ("b", 5), ("a", 1), ("a", 3)]


def test_a_slots_scale_counts_wherever_the_slot_is_on_the_path() -> None:
    genome = DataFlowSpace(POOL)
    changes = {"path.0/1.2": True, "scale.0/1.2": 0.75, "scale.0/0.0": 1.25, "scale.1/0.3": 0.5}
    hops = hops_of(genome, **changes, **{"scale.0/1.3": 0.6})
    assert [hop.scale for hop in hops] == [1.25, 1.0, 1.0, 1.0, 0.75, 0.5]
    needed = {gene.name: gene.needs for gene in genome.space.genes if gene.name[:5] == "scale"}
    assert needed["scale.0/1.2"] == "path.0/1.2"
    assert [name for name, gene in needed.items() if gene is None] == ["scale.0/0.0", "scale.1/0.3"]


def test_w_scales_a_step_by_where_it_comes_from_and_where_it_goes() -> None:
    genome = DataFlowSpace(POOL, scales="matrix")
    changes = {
        "path.0/1.2": True,
        "scale/0.3>1.2": 0.75,
        "scale/1.2>0.3": 1.4,
        "scale/1.2>1.2": 0.5,
    }
    assert [hop.scale for hop in hops_of(genome, **changes)] == [1.0, 1.0, 1.0, 1.0, 0.75, 1.4]
    assert len(genome.space) == 9 + 100
    needed = {gene.name: gene.needs for gene in genome.space.genes}
    assert needed["scale/0.1>1.2"] == "path.0/1.2"
    assert needed["scale/1.2>0.0"] is None


def test_the_network_scales_by_place() -> None:
    genome = DataFlowSpace(POOL, scales="network")
    names = [gene.name for gene in genome.space.genes if gene.name.startswith("network")]
    assert len(names) == HIDDEN * (INPUTS + 1)
    hops = hops_of(genome, **{"network/0": 1.0, "path.0/1.2": True})
    weights = [math.sin(1 + place) for place in range(INPUTS)]
    expected = []
    for t, (source, to, same) in enumerate(
        [(0, 0, 1), (0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 6, 0), (6, 3, 0)]
    ):
        features = [source / 9, to / 9, t / 6, same, 1.0]
        inner = math.tanh(math.tanh(sum(w * x for w, x in zip(weights, features, strict=True))))
        expected.append(1.0 + 0.5 * inner)
    assert [hop.scale for hop in hops] == pytest.approx(expected, abs=2e-6)


def test_a_target_and_a_dtype_go_into_the_recipe() -> None:
    genome = DataFlowSpace(POOL, target="delta", dtype="bfloat16")
    document = genome.decode(start_of(genome, **{"scale.0/0.1": 0.75})).to_document()
    assert document["input_scale_target"] == "delta"
    assert document["dtype"] == "bfloat16"
    assert document["slices"][1]["input_scale"] == 0.75


@pytest.mark.parametrize(
    ("pool", "changes", "message"),
    [
        ({}, {}, "genome.models: expected models with layers"),
        ({"a": 1}, {}, "genome.models: expected models with layers, and more than one layer"),
        ({"a": 4, "b": 0}, {}, "genome.models: expected models with layers"),
        (POOL, {"repeats": 0}, "genome.repeats: expected at least 1, not 0"),
        (
            POOL,
            {"repeats": 10**9},
            "genome.repeats: .* 10,000,000,000 slots, more than 10,000:",
        ),
        (
            {"a": 200, "b": 200},
            {"scales": "matrix"},
            "genome.scales: a matrix over 400 layers has 160,000 scales, more than 100,000: choose",
        ),
        (POOL, {"longest": 1}, "genome.longest: a path has at least 2 layers: its two ends"),
        (POOL, {"shortest": 5}, "genome.shortest: expected a number from 1 to 4 .*, not 5"),
        (POOL, {"most_distinct": 1}, "genome.most_distinct: a path has at least 2 layers"),
        (POOL, {"scale_range": (0.0, 1.5)}, "genome.scale_range: expected 0 < low"),
        (POOL, {"scale_range": (1.1, 1.5)}, r"genome.scale_range: .*, not \[1.1, 1.5\]"),
        (POOL, {"scale_range": (1.0, 1.0)}, "genome.scale_range: expected 0 < low"),
        (POOL, {"scale_range": (0.5, math.inf)}, "genome.scale_range: expected 0 < low"),
    ],
)
def test_settings_that_no_path_satisfies_are_refused(
    pool: dict[Any, int], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DataFlowSpace(pool, **changes)


def test_a_model_of_one_layer_has_room_for_another_models_between_its_ends() -> None:
    genome = DataFlowSpace({"a": 1, "b": 1})
    assert [hop.model for hop in find_hops(genome.decode(start_of(genome)))] == ["a"]
    path = find_hops(genome.decode(start_of(genome, **{"path.0/1.0": True})))
    assert [(hop.model, hop.layer) for hop in path] == [("a", 0), ("b", 0), ("a", 0)]
