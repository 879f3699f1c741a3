"""Paths: recipes of single layers, one after another, each with a scale."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import RecipeError
from evomerge.recipe import Recipe, Slice, Source, fingerprint_recipe, parse_recipe, read_yaml
from evomerge.recipe.path import Hop, describe_path, find_hops, has_scales, is_path, make_path

HOPS = st.lists(
    st.builds(
        Hop,
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),
        st.one_of(st.just(1.0), st.floats(1e-3, 1e3)),
    ),
    min_size=1,
    max_size=12,
)
YAML = """
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 3]}]
  - sources: [{model: b, layer_range: [1, 3]}]
    input_scale: 0.8
  - sources: [{model: a, layer_range: [3, 4]}]
    input_scale: 1.1
"""


def read(text: str = YAML, **changes: Any) -> Recipe:
    return parse_recipe(read_yaml(text, "test") | changes)[0]


def test_a_path_is_told_in_a_line() -> None:
    assert describe_path(read()) == "a 0-2, b 1-2 × 0.8, a 3 × 1.1"
    merge = Recipe("linear", (Slice((Source("a"), Source("b"))),))
    hops = [Hop("/x/models/base", 0), Hop(merge, 1, 0.123456), Hop("/y/models/base", 2)]
    assert (
        describe_path(make_path(hops))
        == "/x/models/base 0, the merge (linear) 1 × 0.123, /y/models/base 2"
    )


def test_a_slices_scale_is_that_of_its_first_layer() -> None:
    expected = [
        Hop("a", 0),
        Hop("a", 1),
        Hop("a", 2),
        Hop("b", 1, 0.8),
        Hop("b", 2),
        Hop("a", 3, 1.1),
    ]
    assert find_hops(read(), {"a": 4, "b": 3}) == tuple(expected)


@settings(deadline=None, max_examples=100)
@given(HOPS, st.sampled_from(["stream", "delta"]))
def test_a_path_is_written_read_and_walked_without_loss(hops: list[Hop], target: str) -> None:
    recipe = make_path(hops, input_scale_target=target)
    assert is_path(recipe)
    assert find_hops(recipe) == tuple(hops)
    assert parse_recipe(recipe.to_document())[0] == recipe
    assert make_path(find_hops(recipe), input_scale_target=target) == recipe
    assert has_scales(recipe) == any(hop.scale != 1.0 for hop in hops)


def test_layers_that_follow_each_other_unscaled_are_one_slice() -> None:
    hops = [Hop("a", 0, 2.0), Hop("a", 1), Hop("a", 2, 0.5), Hop("b", 3), Hop("a", 4), Hop("a", 4)]
    layers = [part.sources[0].layers for part in make_path(hops).slices]
    assert layers == [(0, 2), (2, 3), (3, 4), (4, 5), (4, 5)]


@settings(deadline=None, max_examples=60)
@given(HOPS, HOPS)
def test_a_fingerprint_covers_layers_and_scales(one: list[Hop], other: list[Hop]) -> None:
    prints = [fingerprint_recipe(make_path(hops), {"a": "1", "b": "2"}) for hops in (one, other)]
    assert (prints[0] == prints[1]) == (one == other)


def test_a_fingerprint_covers_what_scales_multiply() -> None:
    prints = {
        fingerprint_recipe(read(input_scale_target=target), {"a": "1", "b": "2"})
        for target in ("stream", "delta")
    }
    assert len(prints) == 2


def test_what_scales_multiply_goes_unsaid_where_nothing_is_scaled() -> None:
    hops = [Hop("a", 0), Hop("b", 1)]
    assert make_path(hops, input_scale_target="delta") == make_path(hops)


def test_a_recipe_may_stand_on_a_path() -> None:
    merged = {"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": 1}}]}
    slices = [{"sources": [{"model": merged, "layer_range": [0, 2]}], "input_scale": 0.5}]
    recipe, _ = parse_recipe({"merge_method": "passthrough", "slices": slices})
    assert [hop.layer for hop in find_hops(recipe)] == [0, 1]
    assert isinstance(find_hops(recipe)[0].model, Recipe)


# ------------------------------------------------------------------------------- what is refused

SLICE = {"sources": [{"model": "a", "layer_range": [0, 2]}]}
LINEAR = {
    "merge_method": "linear",
    "parameters": {"weight": 1.0},
    "slices": [{**SLICE, "input_scale": 0.5}],
}


@pytest.mark.parametrize(
    ("scale", "target", "message"),
    [
        (0.0, "stream", r"slices\[0\].input_scale: the stream's scale must be > 0, not 0"),
        (-0.5, "stream", "the stream's scale must be > 0, not -0.5"),
        (math.nan, "stream", "expected a finite number, not nan"),
        (math.inf, "delta", "expected a finite number, not inf"),
        ("much", "stream", r"slices\[0\].input_scale: .*valid number"),
    ],
)
def test_a_scale_that_cannot_be_is_refused(scale: Any, target: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read(slices=[{**SLICE, "input_scale": scale}], input_scale_target=target)


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"input_scale_target: .*'stream' or 'delta'"):
        read(input_scale_target="everything")


def test_delta_may_be_turned_round_or_off() -> None:
    slices = [{**SLICE, "input_scale": scale} for scale in (-0.5, 0.0)]
    assert [h.scale for h in find_hops(read(slices=slices, input_scale_target="delta"))][::2] == [
        -0.5,
        0.0,
    ]


@pytest.mark.parametrize(
    "document",
    [
        LINEAR,
        {"parameters": {"scale": 2.0}},
        {"base_model": "a"},
        {"tokenizer_source": "union"},
        {"slices": [{**SLICE, "input_scale": 0.5, "parameters": {"scale": 2.0}}]},
        {"slices": None, "modules": {"text": {"slices": [{**SLICE, "input_scale": 0.5}]}}},
    ],
    ids="-".join,
)
def test_only_paths_have_scales(document: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="input_scale: only a path has one: passthrough slices"):
        read(**document)


def test_a_target_without_scales_is_told_to_have_no_effect() -> None:
    document = {"merge_method": "passthrough", "slices": [SLICE], "input_scale_target": "delta"}
    _, warnings = parse_recipe(document)
    assert [str(w) for w in warnings] == [
        "input_scale_target: has no effect: no slice has an input_scale"
    ]


def test_what_is_no_path_has_no_hops() -> None:
    whole, _ = parse_recipe({"merge_method": "passthrough", "models": [{"model": "a"}]})
    assert not is_path(whole)
    with pytest.raises(RecipeError, match="slices: this is no path"):
        find_hops(whole)
    with pytest.raises(RecipeError, match="slices: a path needs at least one layer"):
        make_path([])
    with pytest.raises(
        RecipeError, match=r"slices\[0\].input_scale: the stream's scale must be > 0"
    ):
        make_path([Hop("a", 0, -1.0)])


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"slices\[2\].*layer_range: \[3, 4\] are not layers of a model of 3"
    ):
        find_hops(read(), {"a": 3, "b": 3})
