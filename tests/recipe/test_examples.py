"""Recipes as people write them: published ones as they stand, and one of every style."""

from pathlib import Path
from typing import Any

import pytest

from evomerge.recipe import Module, Recipe, Tokenizer, TokenSource, parse_recipe, write_yaml
from evomerge.recipe.check import lookup
from evomerge.recipe.schedule import depth_of, resolve
from evomerge.recipe.yaml_document import read_all_yaml

EXAMPLES = Path(__file__).parent / "examples"


def read(name: str) -> tuple[Recipe, list[str]]:
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    recipe, warnings = parse_recipe(read_all_yaml(text, name), name)
    return recipe, [str(warning) for warning in warnings]


def value(recipe: Recipe, module: Module, tensor: str, name: str, at: Any = (0, 1)) -> Any:
    """Return a parameter of a module's first slice for layer at[0] of at[1]."""
    part = module.slices[0]
    schedules = lookup(recipe, part, None, name, module)
    return resolve(schedules, tensor, depth_of(*at))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_reads_back_from_what_is_written(file: Path) -> None:
    recipe, _ = read(file.stem)
    text = write_yaml(recipe.to_document())
    assert parse_recipe(read_all_yaml(text, "again"))[0] == recipe


MODELS = {
    "published-slerp": ("AIDC-ai-business/Marcoroni-7B-v3", "EmbeddedLLM/Mistral-7B-Merge-14-v0.1"),
    "published-ties": (
        "mistralai/Mistral-7B-v0.1",
        "OpenPipe/mistral-ft-optimized-1218",
        "mlabonne/NeuralHermes-2.5-Mistral-7B",
    ),
    "published-dare-ties": (
        "mistralai/Mistral-7B-v0.1",
        "samir-fama/SamirGPT-v1",
        "abacusai/Slerp-CM-mist-dpo",
        "EmbeddedLLM/Mistral-7B-Merge-14-v0.2",
    ),
    "published-passthrough": (
        "OpenPipe/mistral-ft-optimized-1218",
        "mlabonne/NeuralHermes-2.5-Mistral-7B",
    ),
    "published-task-arithmetic": (
        "meta-llama/Llama-3.1-8B",
        "NCSOFT/Llama-VARCO-8B-Instruct",
        "akjindal53244/Llama-3.1-Storm-8B",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_published_recipes_name_their_models(name: str) -> None:
    recipe, warnings = read(name)
    assert recipe.models == MODELS[name]
    assert recipe.method == name.removeprefix("published-").replace("-", "_")
    assert all("has no effect" in warning for warning in warnings)


def test_a_published_evolved_recipe_keeps_every_weight() -> None:
    recipe, warnings = read("published-task-arithmetic")
    assert [w.split(":")[0] for w in warnings] == ["allow_negative_weights", "parameters.int8_mask"]
    assert [part.sources[0].layers for part in recipe.slices] == [
        (first, first + 2) for first in range(0, 32, 2)
    ]
    weights = [
        [dict(s.parameters)["weight"].at("any", 0.0) for s in part.sources[:2]]
        for part in recipe.slices
    ]
    assert weights[0] == [1, 0.3475802891062396]
    assert weights[14] == [0.2590342230366074, 0.006083182855312869]
    assert weights[15] == [1, 0.234650395825126]
    assert {part.sources[2].model for part in recipe.slices} == {recipe.base_model}
    assert dict(recipe.parameters)["normalize"].at("any", 0.0) is True


def test_a_gradient_of_filters_is_read_as_published() -> None:
    recipe, _ = read("gradient-slerp")
    (section,) = recipe.sections
    found = {
        name: [value(recipe, section, name, "t", (layer, 40)) for layer in (0, 39)]
        for name in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")
    }
    assert found == {
        "self_attn.q_proj": [0, 1],
        "mlp.up_proj": [1, 0],
        "input_layernorm": [0.5] * 2,
    }


def test_documents_are_one_recipe() -> None:
    recipe, _ = read("documents")
    assert [part.name for part in recipe.recipes] == ["gradient-slerp", "careful"]
    assert recipe.models == ("owner/chat", "owner/code+owner/code-lora@v2", "owner/maths")


def test_modules_have_their_own_slices_and_parameters() -> None:
    recipe, _ = read("modules")
    assert recipe.slices == ()
    assert [m.name for m in recipe.modules] == [
        "text_decoder", "vision_tower", "multi_modal_projector",
    ]  # fmt: skip
    text, vision, _ = recipe.modules
    assert [text.merges_whole_models, vision.merges_whole_models] == [False, True]
    assert value(recipe, text, "x", "t") == 0.3
    assert value(recipe, vision, "x", "t") == 0.5
    second = lookup(recipe, text.slices[1], None, "t", text)
    assert [resolve(second, "x", depth) for depth in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1]


def test_every_form_of_a_token_and_of_a_model_is_read() -> None:
    recipe, _ = read("tokenizer")
    assert recipe.models == (
        "owner/chat", "owner/chat@v2+owner/lora@main", "owner/code+owner/other-lora",
    )  # fmt: skip
    assert recipe.chat_template == "chatml"
    assert recipe.tokenizer == Tokenizer(
        "union",
        (
            ("<|im_start|>", TokenSource("model", "owner/chat", force=True)),
            ("<|im_end|>", TokenSource("model_token", "owner/code", "</s>")),
            ("<pad>", TokenSource("model_token", "owner/code", token_id=2)),
            ("<extra>", TokenSource("zero")),
        ),
        64,
    )


def test_recipes_stand_where_models_stand() -> None:
    recipe, _ = read("inline")
    soup, blend = recipe.recipes
    assert recipe.base_model == soup
    assert (blend.method, blend.dtype, recipe.dtype) == ("slerp", "float32", None)
    assert recipe.models == ("owner/a", "owner/b", "owner/c", "owner/d")


@pytest.mark.parametrize(
    ("tokenizer", "problem"),
    [
        ({"tokens": {"x": {}}}, "tokens.x.source: field required"),
        ({"tokens": {"x": {"source": {"kind": "one"}}}}, "tokens.x.source.kind: input should be"),
        ({"tokens": {"x": {"sorce": "a"}}}, "tokens.x.sorce: unknown key 'sorce' (did you mean "),
        ({"tokens": {"x": {"source": {"kind": "zero", "model": "a"}}}}, "tokens.x.source: kind ze"),
        ({"tokens": {"x": {"source": {"kind": "model_token", "model": "a"}}}},
         "tokens.x.source: kind model_token needs a model, and either token or token_id"),
        ({"tokens": {"x": {"source": {"kind": "model_token", "token": "a"}}}},
         "tokens.x.source: kind model_token needs a model, and either token or token_id"),
        ({"tokens": {"x": {"source": {"kind": "model_token", "model": "a", "token_id": -1}}}},
         "tokens.x.source.token_id: input should be greater than or equal to 0"),
        ({"source": 3}, "source: input should be a valid string"),
        ({"pad_to_multiple": 8}, "pad_to_multiple: unknown key 'pad_to_multiple' (did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_tokenizer_has_its_path(
    tokenizer: dict[str, Any], problem: str
) -> None:
    document = {"merge_method": "passthrough", "models": [{"model": "a"}], "tokenizer": tokenizer}
    with pytest.raises(Exception, match="problem") as caught:
        parse_recipe(document)
    assert any(
        line.startswith(f"  - tokenizer.{problem}") for line in str(caught.value).split("\n")
    )


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({"text": {}}, "modules.text: give either `models:` or `slices:`, and not both"),
        ({"text": {"models": [{"model": "a"}], "layers": 3}}, "modules.text.layers: unknown key"),
        ({"text": {"models": [{"mdel": "a"}]}}, "modules.text.models[0].mdel: unknown key 'mdel'"),
        ({"text": {"models": [{"model": m} for m in "ab"]}},
         "modules.text.models: passthrough takes 1 model, not 2"),
        ({"text": {"slices": [{"sources": [{"model": "a", "layer_range": [3, 2]}]}]}},
         "modules.text.slices[0].sources[0].layer_range: [3, 2] holds no layer"),
        ({"text": {"models": [{"model": "a"}], "parameters": {"scael": 1}}},
         "modules.text.parameters.scael: passthrough has no parameter 'scael'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_module_has_its_path(modules: dict[str, Any], problem: str) -> None:
    with pytest.raises(Exception, match="problem") as caught:
        parse_recipe({"merge_method": "passthrough", "modules": modules})
    assert any(line.startswith(f"  - {problem}") for line in str(caught.value).split("\n"))
