"""Several documents in one file, and recipes inside recipes: one result, nothing in between."""

import logging
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import RecipeError
from evomerge.recipe import Recipe, load_recipe, parse_recipe
from evomerge.recipe.yaml_document import read_all_yaml, write_yaml


def linear(*models: Any, **changes: Any) -> dict[str, Any]:
    return {
        "merge_method": "linear",
        "models": [{"model": m} for m in models],
        "parameters": {"weight": 1.0},
        **changes,
    }


def problems(*documents: Any) -> list[str]:
    with pytest.raises(RecipeError, match="problem") as caught:
        parse_recipe(list(documents))
    return [str(problem) for problem in caught.value.problems]


def result(*documents: Any) -> Recipe:
    recipe, warnings = parse_recipe(list(documents))
    assert not warnings
    return recipe


TEXT = """
name: instruct
merge_method: ties
base_model: base
models:
  - {model: chat, parameters: {weight: 1, density: 0.5}}
  - {model: maths, parameters: {weight: 1, density: 0.5}}
---
name: long
merge_method: slerp
base_model: base
models: [{model: book}]
parameters: {t: 0.3}
dtype: float32
---
merge_method: linear
models:
  - {model: instruct, parameters: {weight: 0.7}}
  - {model: long, parameters: {weight: 0.3}}
dtype: bfloat16
"""


def test_documents_use_each_other_by_name(tmp_path: Path) -> None:
    file = tmp_path / "r.yml"
    file.write_text(TEXT)
    recipe = load_recipe(file)
    instruct, long = recipe.recipes
    assert (instruct.name, long.name, recipe.name) == ("instruct", "long", None)
    assert recipe.inputs == (instruct, long)
    assert recipe.models == ("base", "chat", "maths", "book")
    assert (instruct.method, long.method) == ("ties", "slerp")
    assert (instruct.dtype, long.dtype, recipe.dtype) == (None, "float32", "bfloat16")


def test_a_file_of_documents_is_one_document_with_recipes_inside() -> None:
    recipe, _ = parse_recipe(read_all_yaml(TEXT, "r.yml"))
    inline = recipe.to_document()
    assert inline["models"][0]["model"]["merge_method"] == "ties"
    assert parse_recipe(inline) == (recipe, [])
    assert parse_recipe(read_all_yaml(write_yaml(inline), "f.yml")) == (recipe, [])


def test_the_order_of_documents_does_not_matter() -> None:
    documents = read_all_yaml(TEXT, "r.yml")
    assert parse_recipe(documents[::-1]) == parse_recipe(documents)


def test_empty_documents_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "r.yml"
    file.write_text("---\n" + TEXT + "---\n# the end\n")
    assert load_recipe(file) == parse_recipe(read_all_yaml(TEXT, "r.yml"))[0]


def test_without_a_nameless_document_the_one_that_no_other_uses_is_the_result() -> None:
    recipe = result(linear("b", "x", name="a"), linear("y", "z", name="b"))
    assert recipe.name == "a"
    assert recipe.models == ("y", "z", "x")


def test_a_base_model_may_be_a_document_or_a_recipe() -> None:
    task = {"merge_method": "task_arithmetic", "base_model": "soup"}
    models = [{"model": m, "parameters": {"weight": 1}} for m in ("soup", "x")]
    named = result(linear("a", "b", name="soup"), {**task, "models": models})
    assert named.base_model == named.slices[0].sources[0].model
    assert [part.name for part in named.recipes] == ["soup"]
    sources = [{"model": m, "layer_range": [0, 2]} for m in ("x", "y")]
    sliced = {"sources": sources, "base_model": linear("a", "b")}
    inline = result({"merge_method": "task_arithmetic", "slices": [sliced],
                     "parameters": {"weight": 1}, "base_model": "z"})  # fmt: skip
    assert inline.models == ("z", "a", "b", "x", "y")


def test_a_tokenizer_may_be_that_of_a_document() -> None:
    token = {"source": {"kind": "model_token", "model": "soup", "token": "x"}}
    tokenizer = {"source": "soup", "tokens": {"y": token}}
    recipe = result(linear("a", name="soup"), linear("soup", "b", tokenizer=tokenizer))
    assert recipe.tokenizer is not None
    assert recipe.tokenizer.source == "soup" == recipe.recipes[0].name
    assert parse_recipe(recipe.to_document())[0] == recipe
    two = linear("soup", name="two"), linear("two", "c", tokenizer_source="soup")
    assert result(linear("a", name="soup"), *two).tokenizer_source == "soup"


def test_a_documents_tokenizer_alone_does_not_merge_it() -> None:
    final = linear("a", tokenizer_source="soup")
    assert problems(linear("a", name="soup"), final) == [
        "document 2: tokenizer_source: 'soup' is a document that this recipe does not merge"
    ]


def test_what_is_not_used_is_told() -> None:
    _, warnings = parse_recipe([linear("a"), linear("b", name="spare")])
    told = "document 2: name: nothing refers to it, so it is not merged"
    assert list(map(str, warnings)) == [told]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (
            [linear("b", name="a"), linear("a", name="b"), linear("b")],
            [
                "document 2: models[0].model: goes in a circle: "
                "document 1 needs document 2 needs document 1"
            ],
        ),
        (
            [linear("a", name="a"), linear("a")],
            ["document 1: models[0].model: goes in a circle: document 1 needs document 1"],
        ),
        (
            [linear("x", name="a"), linear("y", name="a"), linear("a")],
            ["document 2: name: 'a' is the name of document 1 too"],
        ),
        (
            [linear("x"), linear("y"), linear("z", name="a")],
            ["documents 1 and 2 have no name; which is the result? Name all others"],
        ),
        (
            [linear("x", name="a"), linear("y", name="b")],
            ["documents 1 and 2 are used by no other; which is the result? Name all others"],
        ),
        (
            [linear("x", name="step1"), linear("stpe1", "./step2")],
            [
                "document 2: models[0].model: no document is named 'stpe1'; did you mean 'step1'? "
                "A folder is './stpe1'"
            ],
        ),
        (
            [linear("x", name="a"), linear("a+lora", "a@main")],
            [
                "document 2: models[0].model: 'a' is a document: it has no revision, and takes "
                "no adapter",
                "document 2: models[1].model: 'a' is a document: it has no revision, and takes "
                "no adapter",
            ],
        ),
        (
            [linear("x", name="a", Dtype="auto"), 3, linear("a", parameters={"weigth": 1})],
            [
                "document 1: Dtype: unknown key 'Dtype' (did you mean 'dtype'?)",
                "document 2: expected keys and values (`key: value` lines)",
                "document 3: parameters.weigth: linear has no parameter 'weigth' (did you mean "
                "'weight'?)",
                "document 3: models[0]: weight is missing",
            ],
        ),
    ],
    ids=[
        "circle",
        "itself",
        "twice",
        "two results",
        "two ends",
        "misspelt",
        "decorated",
        "several",
    ],
)
def test_what_is_wrong_with_documents_is_told_with_their_numbers(
    documents: list[Any], expected: list[str]
) -> None:
    assert problems(*documents) == expected


def test_what_is_wrong_inside_a_recipe_has_the_whole_path() -> None:
    inner = {"merge_method": "slrep", "models": [{"model": "a"}], "dtpye": "auto"}
    stacks = {"text": {"slices": [{"sources": [{"model": inner, "layer_range": [0, 2]}]}]}}
    document = {"merge_method": "passthrough", "modules": stacks}
    where = "modules.text.slices[0].sources[0].model"
    assert problems(document) == [
        f"{where}.dtpye: unknown key 'dtpye' (did you mean 'dtype'?)",
        f"{where}.merge_method: unknown merge method 'slrep' (did you mean 'slerp'?)",
    ]
    assert problems(linear(linear("a", "b", parameters={}))) == [
        "models[0].model.models[0]: weight is missing",
        "models[0].model.models[1]: weight is missing",
    ]


def nested(depth: int) -> Any:
    document: Any = "a"
    for _ in range(depth):
        document = linear(document)
    return document


def test_recipes_stand_at_most_thirty_two_deep() -> None:
    assert len(result(nested(32)).recipes) == 31
    (found,) = problems(nested(33))
    assert found.endswith("model: recipes may stand at most 32 deep in each other")
    for depth in (300, 3000):
        assert any("recipes may stand at most 32 deep" in line for line in problems(nested(depth)))


def chain(length: int, uses: int) -> list[Any]:
    links = [linear(*[str(n)] * uses, name=str(n + 1)) for n in range(length)]
    return [linear("leaf", name="0"), *links]


def test_a_chain_of_documents_is_no_deeper() -> None:
    assert len(result(*chain(31, 1)).recipes) == 31
    message = "document 33: models[0].model: recipes may stand at most 32 deep in each other"
    assert problems(*chain(32, 1)) == [message]
    assert problems(*reversed(chain(3000, 1))) == ["nested too deeply"]


def test_a_chain_that_doubles_at_every_link_does_not_go_off() -> None:
    found = problems(*chain(30, 2))
    assert found[0] == "document 10: models[1].model: a recipe may unfold to at most 1000 others"
    assert all(line.endswith("may unfold to at most 1000 others") for line in found)


def test_a_name_that_a_lone_recipe_has_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        recipe = result(linear("a", "mime", name="mine"))
    assert recipe.name == "mine"
    assert recipe.to_document()["name"] == "mine"
