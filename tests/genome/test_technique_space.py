import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.engine import Models, make_plan
from evomerge.errors import ConfigError
from evomerge.genome import TechniqueSpace
from evomerge.genome.techniques import Mask
from evomerge.recipe import Recipe, find_hops, is_path, parse_recipe

ZOO = ["zoo:reverse", "zoo:sort", "zoo:successor"]


def first_generation(**options: object) -> dict[str, Recipe]:
    genome = TechniqueSpace(ZOO, 4, **options)  # type: ignore[arg-type]  # as the caller says
    return {name: genome.decode(point) for name, point in genome.space.known.items()}


def value(recipe: Recipe, name: str) -> object:
    return dict(recipe.parameters)[name].rules[0].values[0]


def weights(recipe: Recipe) -> list[object]:
    sources = recipe.slices[0].sources
    return [dict(source.parameters)["weight"].rules[0].values[0] for source in sources]


def test_three_models_make_two_to_the_three_different_merges() -> None:
    found = first_generation()
    names = {
        f"{first} + {second} + {third}"
        for first in ("linear", "slerp")
        for second in ("ties", "dare")
        for third in ("frankenmerge", "dfs")
    }
    assert set(found) == names
    assert len(set(found.values())) == 8


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("linear + ties + dfs", ["linear", "ties", "passthrough"]),
        ("slerp + dare + frankenmerge", ["multislerp", "dare_linear", "passthrough"]),
    ],
)
def test_the_three_stages_are_one_nested_recipe(name: str, methods: list[str]) -> None:
    recipe = first_generation()[name]
    assert [part.method for part in (*recipe.recipes, recipe)] == methods
    first, second = recipe.recipes
    assert second.base_model == first
    assert [source.model for source in second.slices[0].sources] == ZOO


def test_frankenmerge_stacks_layers_of_stage_two_and_of_parents() -> None:
    hops = find_hops(first_generation()["linear + ties + frankenmerge"])
    models = [hop.model for hop in hops]
    assert [hop.layer for hop in hops] == [0, 1, 2, 3]
    assert models.count("zoo:reverse") == 1
    assert sum(isinstance(model, Recipe) for model in models) == 3


def test_every_merge_of_the_first_generation_can_be_planned_and_written_down() -> None:
    models = Models()
    for recipe in first_generation(dtype="bfloat16").values():
        make_plan(recipe, models)
        assert parse_recipe(recipe.to_document())[0] == recipe


def test_lists_of_techniques_restrict_and_extend_the_first_generation() -> None:
    assert set(first_generation(techniques=["slerp", "task_arithmetic", "dfs"])) == {
        "slerp + task_arithmetic + dfs"
    }
    wide = ["linear", "slerp", "ties", "dare", "task_arithmetic", "frankenmerge", "dfs"]
    assert len(first_generation(techniques=wide)) == 12


def test_stages_may_be_left_out() -> None:
    merges = first_generation(techniques=["linear", "slerp", "ties"])
    assert not any(map(is_path, merges.values()))
    assert [recipe.method for recipe in merges.values()] == ["ties", "ties"]
    paths = first_generation(techniques=["dfs", "frankenmerge"])
    assert all(hop.model in ZOO for path in paths.values() for hop in find_hops(path))


def test_parameters_begin_where_they_are_told_to() -> None:
    starts = {
        "linear": {"weights": [2.0, 1.0, 1.0]},
        "slerp": {"t": 0.5},
        "ties": {"density": 0.9},
        "dare": {"density": 0.8, "lambda": 2.0},
    }
    found = first_generation(starts=starts)
    linear, ties = found["linear + ties + dfs"].recipes
    slerp, dare = found["slerp + dare + dfs"].recipes
    assert weights(linear) == pytest.approx([0.5, 0.25, 0.25])
    assert weights(slerp) == pytest.approx([0.25, 0.25, 0.5])
    assert value(ties, "density") == 0.9
    assert (value(dare, "density"), value(dare, "lambda")) == (0.8, 2.0)


@pytest.mark.parametrize(("strategy", "method"), [("random", "dare_linear"), ("magnitude", "ties")])
def test_masks_thin_out_task_vectors_before_they_are_added(strategy: str, method: str) -> None:
    mask = Mask(0.75, strategy, rescale=True)  # type: ignore[arg-type]  # one of its words
    recipe = first_generation(mask=mask)["linear + ties + dfs"]
    first, *masked, second = recipe.recipes
    assert second.base_model == first
    assert [source.model for source in second.slices[0].sources] == masked
    assert {part.method for part in masked} == {method}
    assert {part.base_model for part in masked} == {first}
    assert [value(part, "density") for part in masked] == [0.25] * 3
    assert [value(part, "lambda") for part in masked] == [4.0] * 3


def test_a_child_of_like_losers_is_the_mean_of_their_merges() -> None:
    genome = TechniqueSpace(ZOO, 4, dtype="bfloat16")
    parents = list(genome.space.known.values())[:3]
    child = genome.decode(genome.space.blend(parents, np.random.default_rng(0)))
    assert child.method == "linear"
    assert [s.model for s in child.slices[0].sources] == [genome.decode(p) for p in parents]
    make_plan(child, Models())


def test_losers_of_unlike_depth_are_crossed_and_decoded_again() -> None:
    genome = TechniqueSpace(ZOO, 4)
    space = genome.space
    plain = space.known["linear + ties + dfs"]
    values = space.decode(plain)
    deeper = {name: True for name in values if name.startswith("dfs/path.0/1.1")}
    assert deeper
    deep = space.settle(space.encode({**values, **deeper}))
    assert len(find_hops(genome.decode(deep))) > 4
    child = genome.decode(space.blend([plain, deep], np.random.default_rng(0)))
    assert is_path(child)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_every_point_decodes_to_a_path_that_reads_back(seed: int) -> None:
    genome = TechniqueSpace(ZOO, 11, mask=Mask(0.3))
    point = np.random.default_rng(seed).random(len(genome.space))
    recipe = genome.decode(point)
    assert is_path(recipe)
    assert find_hops(recipe)[0].layer == 0
    assert genome.decode(genome.space.settle(point)) == recipe
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_blocks_are_as_even_as_can_be_and_lead_through_every_layer() -> None:
    plain = TechniqueSpace(ZOO, 11).space.known
    genome = TechniqueSpace(ZOO, 11)
    hops = find_hops(genome.decode(plain["linear + ties + dfs"]))
    assert [hop.layer for hop in hops] == list(range(11))
    assert sum(g.name.startswith("frankenmerge/") for g in genome.space.genes) == 6


@pytest.mark.parametrize(
    ("options", "layers", "message"),
    [
        ({"techniques": ["linear", "tise"]}, 4, r"unknown technique 'tise' \(did you mean 'ties'"),
        ({"techniques": []}, 4, "name at least one technique"),
        ({}, 2, "frankenmerge stacks blocks .* at least three layers"),
        ({"starts": {"ties": {"densty": 0.5}}}, 4, "no such parameter .did you mean 'density'"),
        ({"starts": {"linear": {"weights": [1.0]}, "dare": {"density": 7}}}, 4, r"\[0.05, 1\]"),
        ({"starts": {"linear": {"weights": [1.0, 2.0]}}}, 4, "expected 3 weights, one a model"),
        ({"mask": Mask(1.0)}, 4, r"a share in \[0, 0.99\]"),
    ],
)
def test_impossible_settings(options: dict[str, object], layers: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TechniqueSpace(ZOO, layers, **options)  # type: ignore[arg-type]  # wrong on purpose


def test_one_model_is_no_tournament() -> None:
    with pytest.raises(ConfigError, match="at least two models"):
        TechniqueSpace(ZOO[:1], 4)
