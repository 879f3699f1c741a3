"""Recipes and their documents are two forms of one thing."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.recipe import (
    Recipe,
    Rule,
    Schedule,
    Slice,
    Source,
    constant,
    parse_recipe,
    read_yaml,
    write_yaml,
)
from evomerge.recipe.model import Parameters, freeze_parameters

MODELS = st.sampled_from(["a", "b", "owner/c", "zoo:base", "./d e", "~/ü"])
FILTERS = st.sampled_from(["mlp", "self_attn", "*", "norm.weight"])


def schedules(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Schedule]:
    lists = st.lists(values, min_size=1, max_size=3).map(tuple)
    rules = st.lists(st.builds(Rule, FILTERS, lists), max_size=2)
    last = st.builds(Rule, st.none(), lists)
    return st.builds(lambda some, rest: Schedule((*some, rest)), rules, last)


WEIGHTS = schedules(st.floats(0.01, 5) | st.integers(1, 3))  # positive: no sum is zero
DENSITIES = schedules(st.floats(0.01, 1))
FLAGS = schedules(st.booleans())


def parameters(**known: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Parameters]:
    return st.fixed_dictionaries({}, optional=known).map(freeze_parameters)


OF_ONE = parameters(density=DENSITIES).flatmap(
    lambda rest: WEIGHTS.map(lambda weight: freeze_parameters({**dict(rest), "weight": weight}))
)
OF_ALL = parameters(normalize=FLAGS, density=DENSITIES, **{"lambda": WEIGHTS})
SETTINGS = st.fixed_dictionaries(
    {
        "dtype": st.none() | st.sampled_from(["float32", "bfloat16", "float16"]),
        "out_dtype": st.none() | st.just("float64"),
        "tokenizer_source": st.none() | MODELS,
        "chat_template": st.none() | st.sampled_from(["auto", "{{ messages }}"]),
    }
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw ties recipes of whole models or of slices, with every kind of parameter anywhere."""
    sources = st.lists(st.builds(Source, MODELS, st.none(), OF_ONE), min_size=1, max_size=3)
    parts: tuple[Slice, ...]
    if draw(st.booleans()):
        parts = (Slice(tuple(draw(sources))),)
    else:
        parts = tuple(
            Slice(
                tuple(dataclasses.replace(s, layers=(k, k + 2)) for s in draw(sources)),
                draw(st.none() | st.just("other base")),
                draw(OF_ALL),
            )
            for k in range(draw(st.integers(1, 3)))
        )
    return Recipe("ties", parts, "the base", draw(OF_ALL), **draw(SETTINGS))


@settings(deadline=None, max_examples=60)
@given(recipes())
def test_a_recipe_reads_back_from_its_document(recipe: Recipe) -> None:
    assert parse_recipe(recipe.to_document()) == (recipe, [])
    assert parse_recipe(read_yaml(write_yaml(recipe.to_document()), "f.yml"))[0] == recipe


def test_a_recipe_cannot_be_changed() -> None:
    recipe = Recipe("linear", (Slice((Source("a"),)),))
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'method'"):
        recipe.method = "ties"  # type: ignore[misc]  # wrong on purpose
    assert {recipe: 1}[recipe] == 1


def test_models_are_named_once_a_base_first() -> None:
    slices = (Slice((Source("a"), Source("b")), "c"), Slice((Source("b"), Source("d"))))
    assert Recipe("ties", slices, "base").models == ("base", "c", "a", "b", "d")


def test_whole_models_answer_with_their_slice_before_the_whole() -> None:
    inner = Schedule((Rule("mlp", (0.5,)),))
    part = Slice((Source("a"),), None, freeze_parameters({"weight": inner}))
    recipe = Recipe("linear", (part,), None, freeze_parameters({"weight": constant(0.3)}))
    back, _ = parse_recipe(recipe.to_document())
    (weight,) = (schedule for name, schedule in back.parameters if name == "weight")
    assert weight.at("mlp.up_proj", 0.0) == 0.5
    assert weight.at("self_attn", 0.0) == 0.3
