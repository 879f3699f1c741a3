"""Points that people try first, and the values that a coarser search found."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import Layout
from evomerge.engine import Models
from evomerge.genome import ParameterSpace
from evomerge.methods import METHODS
from evomerge.recipe import Recipe
from evomerge.recipe.check import lookup, resolve

PARTS = ("input_layernorm.weight", "mlp.up_proj.weight", "self_attn.q_proj.weight")
EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"
LAYERS = 6
LAYOUT = Layout("model.layers.", LAYERS, PARTS, (EMBEDDING,), (NORM,), None)
SEARCHABLE = [n for n, spec in METHODS.items() if any(p.search for p in spec.parameters.values())]


def make(method: str = "task_arithmetic", **changes: Any) -> ParameterSpace:
    models = ["a"] if METHODS.get(method).max_models == 1 else ["a", "b", "c", "d"]
    models = models[: METHODS.get(method).max_models]
    base = None if METHODS.get(method).base == "none" else "base"
    return ParameterSpace(models, method, LAYOUT, **{"base_model": base, **changes})


def weights(space: ParameterSpace, name: str) -> list[set[object]]:
    """Return each model's weights at a known point."""
    values = space.space.decode(space.space.known[name])
    return [
        {value for key, value in values.items() if key.startswith(f"weight.{k}/")}
        for k in range(len(space.parents))
    ]


def test_task_arithmetic_knows_every_model_alone_their_average_and_four_sums() -> None:
    space = make(layer_granularity=2)
    sums = [f"task arithmetic {weight:g}" for weight in (0.3, 0.5, 0.7, 1.0)]
    alone = [f"only {name}" for name in "abcd"]
    assert list(space.space.known) == [*alone, "uniform", *sums]
    assert weights(space, "uniform") == [{0.25}] * 4
    assert weights(space, "task arithmetic 0.7") == [{0.7}] * 4
    assert weights(space, "only c") == [{0.0}, {0.0}, {1.0}, {0.0}]


def test_uniform_weights_are_written_as_people_write_them() -> None:
    models = ["zoo:sort", "zoo:reverse", "zoo:successor"]
    space = ParameterSpace(
        models, "task_arithmetic", Models().layout("zoo:base"), base_model="zoo:base"
    )
    recipe = space.decode(space.space.known["uniform"])
    found = {
        value for source in recipe.slices[0].sources for _, s in source.parameters
        for value in s.values()
    }  # fmt: skip
    assert found == {0.333333}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"ranges": {"weight": (0.4, 0.8)}}, ["task arithmetic 0.5", "task arithmetic 0.7"]),
        ({"ranges": {"weight": (-0.5, 0.28)}}, ["uniform"]),
        ({"parameters": {"normalize": True}}, ["only a", "only b", "only c", "only d", "uniform"]),
        ({"parameters": {"normalize": True}, "ranges": {"weight": (0.5, 0.9)}}, ["uniform"]),
        ({"parameters": {"weight": 0.5}, "ranges": {"lambda": (0.5, 1.5)}}, []),
        ({"method": "linear"}, ["only a", "only b", "only c", "only d", "uniform"]),
        ({"method": "slerp"}, []),
        ({"method": "sce"}, []),
    ],
)
def test_only_what_method_and_ranges_can_express_is_known(
    changes: dict[str, Any], names: list[str]
) -> None:
    assert list(make(**changes).space.known) == names


@pytest.mark.parametrize("method", SEARCHABLE)
def test_known_points_are_merges_with_the_methods_own_defaults(method: str) -> None:
    space = make(method, filters={"attention": ["self_attn"]})
    defaults = {n: p.default for n, p in METHODS.get(method).parameters.items()}
    for point in space.space.known.values():
        assert space.decode(point).method == method
        for key, value in space.space.decode(point).items():
            name = key.split("/")[0].split(".")[0]
            if isinstance(default := defaults[name], (int, float, str)) and name != "weight":
                assert value == pytest.approx(default)


def value_at(recipe: Recipe, model: int | None, name: str, layer: int, tensor: str) -> Any:
    """Look a parameter up as the engine does."""
    slices = recipe.slices
    ranges = [part.sources[0].layers or (0, LAYERS) for part in slices]
    [place] = [k for k, (first, end) in enumerate(ranges) if first <= layer < end]
    first, end = ranges[place]
    depth = (layer - first) / (end - first - 1) if end - first > 1 else 1.0
    source = slices[place].sources[model] if model is not None else None
    return resolve(lookup(recipe, slices[place], source, name), tensor, depth)


def is_same(some: Any, other: Any) -> bool:
    return bool(some == (pytest.approx(other) if isinstance(other, float) else other))


@settings(deadline=None, max_examples=30)
@given(
    method=st.sampled_from(["task_arithmetic", "ties", "linear", "generalized_task_arithmetic"]),
    sizes=st.sampled_from([(0, 3), (0, 1), (3, 1), (2, 1), (0, 2)]),
    filters=st.sampled_from([{}, {"a": ["self_attn"]}, {"a": ["mlp"], "b": ["norm", "mlp"]}]),
    own=st.booleans(),
    seed=st.integers(0, 999),
)
def test_finer_groups_begin_at_the_very_merge_that_coarser_ones_found(
    method: str, sizes: tuple[int, int], filters: dict[str, list[str]], own: bool, seed: int
) -> None:
    coarse, fine = sizes
    options: dict[str, Any] = {"method": method, "filters": filters, "own_embeddings": own}
    before = make(**options, layer_granularity=coarse)
    found = before.decode(np.random.default_rng(seed).random(len(before.space)))
    after = make(**options, layer_granularity=fine, around=found)
    begun = after.decode(after.space.start())
    assert after.space.known == {}
    parameters = METHODS.get(method).parameters
    for name in {part.name for part, _, _, _ in after.slots()}:
        for model in range(len(after.parents)) if parameters[name].per_model else [None]:
            for layer in range(LAYERS):
                for part in PARTS:
                    place = model, name, layer, f"model.layers.{layer}.{part}"
                    assert is_same(value_at(begun, *place), value_at(found, *place))
            for layer, tensor in ((0, EMBEDDING), (LAYERS - 1, NORM)):
                place = model, name, layer, tensor
                assert is_same(value_at(begun, *place), value_at(found, *place))


def test_smooth_weights_are_taken_from_the_middle_of_every_group() -> None:
    options: dict[str, Any] = {"smooth": True, "own_embeddings": False}
    before = make(**options, layer_granularity=3)
    found = before.decode(np.repeat([[0.0, 1.0]], 4, axis=0).ravel())  # from 0 to 1 with depth
    values = make(**options, layer_granularity=1, around=found).space.start()[:LAYERS]
    assert np.allclose(values, np.arange(LAYERS) / (LAYERS - 1), atol=1e-6)


def test_values_beyond_a_narrower_range_are_moved_into_it() -> None:
    before = make(ranges={"weight": (0.0, 2.0)})
    found = before.decode(np.ones(len(before.space)))
    after = make(layer_granularity=1, around=found, ranges={"weight": (0.0, 1.5)})
    assert set(after.space.decode(after.space.start()).values()) == {1.5}
