"""Reading recipes: every problem in one error, each at its YAML path, with what was meant."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import RecipeError
from evomerge.recipe import library, load_recipe, parse_recipe, read_yaml
from evomerge.recipe.check import lookup, resolve

TWO = [{"model": m, "parameters": {"weight": 1.0}} for m in ("a", "b")]


def problems(document: Any, *, lenient: bool = False) -> list[str]:
    with pytest.raises(RecipeError, match="problem") as caught:
        parse_recipe(document, lenient=lenient)
    return [str(problem) for problem in caught.value.problems]


def linear(**changes: Any) -> dict[str, Any]:
    return {"merge_method": "linear", "models": deepcopy(TWO), **changes}


@pytest.mark.parametrize("name", library())
def test_shipped_recipes_read_as_they_should(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        recipe = load_recipe(name)
    known = ["dare-ties: parameters.int8_mask: has no effect: dare_ties does not read it"]
    assert caplog.messages == (known if name == "dare-ties" else [])
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_everything_wrong_is_listed_at_once() -> None:
    text = """
merge_method: ties
base_model: c
Dtype: bfloat16
models:
  - model: a
    parameters: {densty: 0.5, density: -1, weight: 2}
  - model: b
    paramters: {weight: 1}
parameters: {lamda: 3, normalize: 0.5}
out_dtype: bloat16
"""
    assert problems(read_yaml(text, "r.yml")) == [
        "models[1].paramters: unknown key 'paramters' (did you mean 'parameters'?)",
        "Dtype: unknown key 'Dtype' (did you mean 'dtype'?)",
        "out_dtype: input should be 'float32', 'float16', 'bfloat16', 'float64', 'fp32', 'fp16', "
        "'bf16' or 'auto'",
        "parameters.lamda: ties has no parameter 'lamda' (did you mean 'lambda'?)",
        "parameters.normalize: normalize must be true or false, not 0.5",
        "models[0].parameters.density: density must be in [0, 1]: -1",
        "models[0].parameters.densty: ties has no parameter 'densty' (did you mean 'density'?)",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"merge_method": "lineer"}, "merge_method: unknown merge method 'lineer' (did you mean "),
        ({"merge_method": 3}, "merge_method: input should be a valid string"),
        ({"Models": TWO}, "Models: unknown key 'Models' (did you mean 'models'?)"),
        ({"slices": []}, "slices: list should have at least 1 item after validation, not 0"),
        ({"slices": [{"sources": TWO}]}, "give exactly one of `models:`, `slices:` and `modules:`"),
        ({"models": None}, "give exactly one of `models:`, `slices:` and `modules:`"),
        ({"models": "a"}, "models: input should be a valid list"),
        ({"models": [TWO[0], {"model": "b"}]}, "models[1]: weight is missing"),
        ({"models": [TWO[0], {"parameters": {}}]}, "models[1].model: field required"),
        (
            {"models": [{**TWO[0], "layer_range": [0, 1]}]},
            "models[0].layer_range: unknown key 'layer_range'",
        ),
        (
            {"models": [{"model": {"model": {"path": "a", "revison": "b"}}}]},
            "models[0].model.model.revison: unknown key 'revison' (did you mean 'revision'?)",
        ),
        (
            {"models": [{"model": {"model": "a", "lora": {"x": 1}}}]},
            "models[0].model.lora.x: unknown key 'x'",
        ),
        (
            {"parameters": {"normalize": "no"}},
            "parameters.normalize: normalize must be true or false, not 'no'",
        ),
        ({"parameters": {1: 2}}, "parameters[1]: input should be a valid string"),
        (
            {"tokenizer": {"source": "base", "pad_to_multiple_of": 0}},
            "tokenizer.pad_to_multiple_of: input should be greater than or equal to 1",
        ),
        ({"modules": {}}, "modules: dictionary should have at least 1 item"),
        ({"models": [{"model": ""}]}, "models[0].model: string should have at least 1 character"),
        ({"base_model": ""}, "base_model: string should have at least 1 character"),
        ({"[key]": 1}, "[key]: unknown key '[key]'"),
        ({"name": ""}, "name: string should have at least 1 character"),
        ({"merge_method": "TIES"}, "merge_method: unknown merge method 'TIES' (did you mean 'ties"),
        ({"lora_rank": 0}, "lora_rank: input should be greater than or equal to 1"),
        ({"lora_rank": 8}, "lora_rank: only an adapter has a rank: add `output: lora`"),
        ({"output": "adapter"}, "output: input should be 'model' or 'lora'"),
        (
            {"models": [{**TWO[0], "model": {**linear(), "output": "lora"}}]},
            "a recipe inside another gives a model: take `output: lora` out of it",
        ),
        ({"dtype": "int8"}, "dtype: input should be 'float32', 'float16', 'bfloat16', 'float64', "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_problem_has_its_path(change: dict[str, Any], problem: str) -> None:
    found = problems(linear(**change))
    assert any(line.startswith(problem) for line in found), found


def test_an_adapter_is_merged_of_listed_adapters_alone() -> None:
    stack = [{"sources": [{**source, "layer_range": [0, 2]} for source in TWO]}]
    inner = [{"model": linear(), "parameters": {"weight": 1}}]
    for change in (
        {"models": None, "slices": stack},
        {"models": None, "modules": {"text": {"models": TWO}}},
        {"models": inner},
    ):
        (found,) = problems(linear(output="lora", **change))
        assert found == "output: `output: lora` merges adapters listed under `models:`"


def test_what_an_adapter_has_no_use_for_is_told() -> None:
    settings = {"lora_rank": 8, "dtype": "bfloat16", "chat_template": "chatml"}
    recipe, warnings = parse_recipe(linear(output="lora", **settings))
    assert (recipe.output, recipe.lora_rank) == ("lora", 8)
    assert [str(warning) for warning in warnings] == [
        "dtype: has no effect on an adapter",
        "chat_template: has no effect on an adapter",
    ]


@pytest.mark.parametrize("density", [-1e-9, -0.1, 1.0001, float("nan"), [0.5, -1]])
def test_a_density_outside_its_bounds_is_refused(density: Any) -> None:
    models = [{"model": "a", "parameters": {"weight": 1, "density": density}}]
    (found,) = problems({"merge_method": "ties", "base_model": "b", "models": models})
    assert found.startswith("models[0].parameters.density: density must be in [0, 1]: ")


def test_every_missing_weight_is_listed() -> None:
    document = {"merge_method": "ties", "base_model": "c", "models": [{"model": m} for m in "ab"]}
    assert problems(document) == ["models[0]: weight is missing", "models[1]: weight is missing"]


def test_a_filter_list_without_a_rest_is_missing_values() -> None:
    weight = [{"filter": "mlp", "value": 1}]
    (found,) = problems(linear(models=[{"model": "a", "parameters": {"weight": weight}}]))
    assert found == "models[0]: weight is missing for tensors that match no filter"


@pytest.mark.parametrize(
    ("method", "models", "base", "problem"),
    [
        ("slerp", "ab", None, "base_model: slerp needs a base model"),
        ("slerp", "abc", "a", "models: slerp takes 1 model besides the base, not 2"),
        ("slerp", "a", "a", "models: slerp takes at least 1 model besides the base, not 0"),
        ("passthrough", "ab", None, "models: passthrough takes 1 model, not 2"),
    ],
)
def test_the_number_of_models_must_fit(
    method: str, models: str, base: str | None, problem: str
) -> None:
    parameters = {"t": 0.5} if method == "slerp" else {}
    document = {
        "merge_method": method,
        "models": [{"model": m} for m in models],
        "base_model": base,
        "parameters": parameters,
    }
    assert problems(document) == [problem]


@pytest.mark.parametrize(
    ("ranges", "problem"),
    [
        (([0, 2], [0, 3]), "slices[0]: all sources of a slice must have the same number of layers"),
        (([2, 2], [2, 2]), "slices[0].sources[0].layer_range: [2, 2] holds no layer"),
        (([3, 1], [3, 1]), "slices[0].sources[1].layer_range: [3, 1] holds no layer"),
        (([-1, 1], [0, 2]), "slices[0].sources[0].layer_range: [-1, 1] holds no layer"),
        (([0, 2], None), "slices[0]: every source needs a layer_range"),
        (([0], [0, 1]), "slices[0].sources[0].layer_range: list should have at least 2 items"),
        (
            ([0, 1.5], [0, 1]),
            "slices[0].sources[0].layer_range[1]: input should be a valid integer",
        ),
    ],
)
def test_layer_ranges_must_fit(ranges: tuple[Any, Any], problem: str) -> None:
    sources = [
        {"model": m, "layer_range": r, "parameters": {"weight": 1}}
        for m, r in zip("ab", ranges, strict=True)
    ]
    found = problems({"merge_method": "linear", "slices": [{"sources": sources}]})
    assert any(line.startswith(problem) for line in found), found


def test_what_has_no_effect_is_warned_about() -> None:
    document = linear(
        smooth=True, allow_negative_weights=False, parameters={"int8_mask": True, "t": 1}
    )
    document["models"][0]["parameters"] = {"weight": 1, "normalize": True}
    _, warnings = parse_recipe(document)
    found = {warning.path: warning.message for warning in warnings}
    assert set(found) == {
        "smooth", "allow_negative_weights", "parameters.int8_mask", "parameters.t",
        "models[0].parameters.normalize",
    }  # fmt: skip
    assert found["parameters.t"] == "has no effect: linear does not read it"
    assert all(message.startswith("has no effect") for message in found.values())


def test_lenient_turns_unknown_names_into_warnings_and_nothing_else() -> None:
    document = linear(Dtype="x", parameters={"wieght": 1})
    recipe, warnings = parse_recipe(document, lenient=True)
    assert [str(warning) for warning in warnings] == [
        "Dtype: unknown key 'Dtype' (did you mean 'dtype'?)",
        "parameters.wieght: linear has no parameter 'wieght' (did you mean 'weight'?)",
    ]
    assert recipe.dtype is None
    bad = linear(Dtype="x", models=[{"model": "a", "parameters": {"weight": "x"}}])
    assert problems(bad, lenient=True) == [
        "models[0].parameters.weight: weight must be a number, not 'x'"
    ]


def test_the_most_specific_scope_wins_even_through_filters() -> None:
    text = """
merge_method: linear
slices:
  - sources:
      - {model: a, layer_range: [0, 2], parameters: {weight: [{filter: mlp, value: 1}]}}
      - {model: b, layer_range: [0, 2]}
    parameters: {weight: [{filter: self_attn, value: 2}, {filter: mlp, value: 3}]}
parameters: {weight: 4}
"""
    recipe, _ = parse_recipe(read_yaml(text, "r.yml"))
    part = recipe.slices[0]
    found = {
        source.model: [resolve(lookup(recipe, part, source, "weight"), n, 0.0) for n in NAMES]
        for source in part.sources
    }
    assert found == {"a": [1, 2, 4], "b": [3, 2, 4]}


NAMES = ("mlp.up", "self_attn.q", "norm")


def test_mergekits_spellings_are_understood() -> None:
    document = linear(dtype="bf16", out_dtype="auto", parameters={"normalize": 1.0})
    document["models"] = [
        {"model": {"model": {"path": "a", "revision": "r1"}}, "parameters": {"weight": 1}},
        {"model": {"model": "b"}, "parameters": {"weight": None}},
    ]
    document["parameters"]["weight"] = 2
    recipe, warnings = parse_recipe(document)
    assert recipe.models == ("a@r1", "b")
    assert (recipe.dtype, recipe.out_dtype) == ("bfloat16", None)
    assert warnings == []


@pytest.mark.parametrize("document", [None, [], "text", 3, True, [None], ["a"]])
def test_what_is_not_keys_and_values_is_refused(document: Any) -> None:
    assert problems(document) == ["expected keys and values (`key: value` lines)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected keys and values"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", r"cannot be read: not UTF-8 text"),
        (b"merge_method: linear\x00", r"unacceptable character #x0000"),
        (b"# only a comment\n", r"expected keys and values"),
        (b"- a\n- b\n", r"expected keys and values"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "r.yml"
    file.write_bytes(content)
    with pytest.raises(Exception, match=message) as caught:
        load_recipe(file)
    assert str(caught.value).startswith(f"{file}: 1 problem in this ")


def test_a_missing_file_and_a_folder_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone.yml: 1 problem.*\n.*No such file or directory"):
        load_recipe(tmp_path / "gone.yml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "r.yml"
    text = "merge_method: passthrough\nmodels: [{model: a}]\n"
    file.write_text(text, encoding="utf-8-sig")
    assert load_recipe(file).models == ("a",)


NAMED = (
    "merge_method models slices sources model layer_range parameters weight value filter path"
    " base_model dtype lora Models str int ModelName [key] 0 modules tokenizer"
)
KEYS = st.sampled_from(NAMED.split(" ")) | st.integers(0, 2) | st.none() | st.booleans()
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats()
    | st.sampled_from(["linear", "ties", "slerp", "a", "", "float32", "auto"])
)  # fmt: skip
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=15,
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.booleans())
def test_no_document_makes_it_raise_anything_else(document: Any, lenient: bool) -> None:
    assert all(line and "\n" not in line for line in complain(document, lenient))


def complain(document: Any, lenient: bool) -> list[str]:
    try:
        parse_recipe(document, lenient=lenient)
    except RecipeError as error:
        return [problem.message and str(problem) for problem in error.problems] or [""]
    return []


def test_the_long_form_of_tokenizer_source_is_read() -> None:
    document = {
        "merge_method": "linear",
        "models": [{"model": "a", "parameters": {"weight": 1}}],
        "tokenizer": {"source": "union"},
    }
    recipe, warnings = parse_recipe(document)
    assert recipe.tokenizer_source == "union"
    assert not warnings
    with pytest.raises(RecipeError, match="give `tokenizer:` or `tokenizer_source:`, not both"):
        parse_recipe({**document, "tokenizer_source": "base"})
