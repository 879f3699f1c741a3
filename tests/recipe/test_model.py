"""Recipes and their documents are two forms of one thing."""

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evomerge.recipe import (
    Module,
    Recipe,
    Rule,
    Schedule,
    Slice,
    Source,
    Tokenizer,
    TokenSource,
    constant,
    parse_recipe,
    read_yaml,
    write_yaml,
)
from evomerge.recipe.model import Parameters, freeze_parameters

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
MODELS = st.sampled_from(["a", "b", "owner/c", "zoo:base", "./d e", "~/ü"])
FILTERS = st.sampled_from(["mlp", "self_attn", "*", "norm.weight"])


def schedules(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Schedule]:
    lists = st.lists(values, min_size=1, max_size=2).map(tuple)
    rules = st.lists(st.builds(Rule, FILTERS, lists), max_size=1)
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
TOKEN_SOURCES = (
    st.builds(TokenSource, st.just("zero"), force=st.booleans())
    | st.builds(TokenSource, st.just("model"), MODELS, force=st.booleans())
    | st.builds(TokenSource, st.just("model_token"), MODELS, st.just("</s>"), force=st.booleans())
    | st.builds(TokenSource, st.just("model_token"), MODELS, token_id=st.integers(0, 9))
)
TOKENIZERS = st.builds(
    Tokenizer,
    st.sampled_from(["union", "base"]) | MODELS,
    st.dictionaries(st.text(min_size=1), TOKEN_SOURCES, max_size=2).map(lambda d: tuple(d.items())),
    st.none() | st.integers(1, 128),
)
SETTINGS = st.fixed_dictionaries(
    {
        "dtype": st.none() | st.sampled_from(["float32", "bfloat16", "float16"]),
        "out_dtype": st.none() | st.just("float64"),
        "tokenizer": st.none() | TOKENIZERS,
        "chat_template": st.none() | st.sampled_from(["auto", "{{ messages }}"]),
        "name": st.none() | st.sampled_from(["first", "the second"]),
    }
)


def sliced(sources: list[Source], base: str | None, shared: Parameters) -> Slice:
    """Return a slice of the sources' first layers."""
    return Slice(tuple(dataclasses.replace(s, layers=(0, 2)) for s in sources), base, shared)


def stacks(models: st.SearchStrategy[str | Recipe]) -> st.SearchStrategy[tuple[Slice, ...]]:
    """Draw slices, or one of whole models, with every kind of parameter anywhere."""
    sources = st.lists(st.builds(Source, models, st.none(), OF_ONE), min_size=1, max_size=2)
    base = st.none() | st.just("other base")
    slices = st.lists(st.builds(sliced, sources, base, OF_ALL), min_size=1, max_size=2)
    return sources.map(lambda found: (Slice(tuple(found)),)) | slices.map(tuple)


def recipes_of(models: st.SearchStrategy[str | Recipe]) -> st.SearchStrategy[Recipe]:
    """Draw ties recipes: of models or of modules, with all that may stand beside them."""
    modules = st.builds(Module, st.sampled_from(["text", "vision.tower"]), stacks(models), OF_ALL)
    several = st.lists(modules, min_size=1, max_size=2, unique_by=lambda module: module.name)
    content = st.fixed_dictionaries({"slices": stacks(models)}) | st.fixed_dictionaries(
        {"slices": st.just(()), "modules": several.map(tuple)}
    )
    return st.builds(
        lambda what, base, shared, rest: Recipe(
            "ties", base_model=base, parameters=shared, **what, **rest
        ),
        *(content, st.just("the base") | models, OF_ALL, SETTINGS),
    ).filter(_has_tasks)


def _has_tasks(recipe: Recipe) -> bool:
    """Tell whether every slice has a model besides the base."""
    return all(
        any(source.model != (part.base_model or recipe.base_model) for source in part.sources)
        for section in recipe.sections
        for part in section.slices
    )


INNER = recipes_of(MODELS)
RECIPES = recipes_of(MODELS | INNER)


@settings(deadline=None, max_examples=25, suppress_health_check=SLOW)
@given(RECIPES)
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


def test_models_of_recipes_inside_are_named_each_once_however_deep() -> None:
    soup = Recipe("linear", (Slice((Source("x"), Source("y"))),), name="soup")
    inner = Recipe("ties", (Slice((Source(soup), Source("z"))),), "y")
    stack = Module("text", (Slice((Source(inner), Source("x")), soup),))
    outer = Recipe("ties", base_model="b", modules=(stack,))
    assert outer.inputs == ("b", soup, inner, "x")
    assert outer.models == ("b", "x", "y", "z")
    assert outer.recipes == (soup, inner)
    assert list(outer.named()) == ["b", soup, inner, "x"]
    assert outer.sections == (stack,)
    assert not outer.merges_whole_models
    assert stack.merges_whole_models
    assert {outer: 1}[outer] == 1


def test_renaming_reaches_everything_a_recipe_names_itself() -> None:
    soup = Recipe("linear", (Slice((Source("x"),)),), name="soup")
    tokens = (("t", TokenSource("model", "a")), ("u", TokenSource("zero")))
    stack = Module("text", (Slice((Source("a"), Source(soup)), "c"),))
    recipe = Recipe("ties", base_model="b", modules=(stack,), tokenizer=Tokenizer("a", tokens))
    found = recipe.rename_models(lambda model: model.upper() if isinstance(model, str) else "SOUP")
    assert found.inputs == ("B", "C", "A", "SOUP")
    assert found.tokenizer == Tokenizer("A", (("t", TokenSource("model", "A")), tokens[1]))


def test_a_tokenizer_is_written_in_its_short_form_where_that_says_it_all() -> None:
    recipe = Recipe("linear", (Slice((Source("a"),)),), tokenizer=Tokenizer("base"))
    assert recipe.to_document()["tokenizer_source"] == recipe.tokenizer_source == "base"
    padded = dataclasses.replace(recipe, tokenizer=Tokenizer("base", (), 8))
    assert padded.to_document()["tokenizer"] == {"source": "base", "pad_to_multiple_of": 8}
    assert dataclasses.replace(recipe, tokenizer=None).tokenizer_source is None
