"""Everything that cannot work is found before anything is written, and all of it is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.checkpoints.locate import locate
from evomerge.engine import Models, Plan, make_plan
from evomerge.errors import CheckpointError, EvoMergeException, RecipeError
from evomerge.recipe import parse_recipe

MakeModel = Callable[..., Path]


def plan_of(*folders: Path | str, **document: Any) -> Plan:
    return make_plan(parse_recipe(linear(*folders, **document))[0], Models())


def linear(*folders: Path | str, **document: Any) -> dict[str, Any]:
    models = [{"model": str(folder)} for folder in folders]
    return {"merge_method": "linear", "models": models, "parameters": {"weight": 1.0}, **document}


def altered(
    source: Path, target: Path, config: dict[str, Any] | None = None, **tensors: Any
) -> Path:
    """Copy a model with settings of its config and tensors replaced (None removes a tensor)."""
    shutil.copytree(source, target)
    settings = json.loads((target / "config.json").read_text()) | (config or {})
    (target / "config.json").write_text(json.dumps(settings))
    found = load_file(target / "model.safetensors") | tensors
    save_file(
        {name: tensor for name, tensor in found.items() if tensor is not None},
        target / "model.safetensors",
    )
    return target


NORM = "model.norm.weight"
UP = "model.layers.2.mlp.up_proj.weight"


def test_every_mismatch_is_listed_at_once(tiny_llama: MakeModel, tmp_path: Path) -> None:
    good = tiny_llama(0)
    bad = altered(good, tmp_path / "bad", None, **{NORM: torch.zeros(5).bfloat16(), UP: None})
    worse = altered(good, tmp_path / "worse", None, extra=torch.zeros(1), more=torch.zeros(1))
    with pytest.raises(RecipeError, match="3 problems in this recipe") as caught:
        plan_of(good, bad, worse)
    messages = [problem.message for problem in caught.value.problems]
    assert f"{bad} lacks tensor {UP}" in messages
    assert f"{NORM} is [32] in {good} but [5] in {bad}" in messages
    assert f"{worse} has tensor extra and 1 more, which {good} lacks" in messages


def test_other_vocabularies_and_widths_are_told_by_tensor(tiny_llama: MakeModel) -> None:
    first, second = tiny_llama(0), tiny_llama(0, vocab_size=65)
    with pytest.raises(
        RecipeError, match=r"embed_tokens.weight is \[64, 32\] in .* but \[65, 32\]"
    ):
        plan_of(first, second)
    with pytest.raises(RecipeError, match=r"… and [0-9]+ more of the kind") as caught:
        plan_of(first, tiny_llama(0, hidden_size=16))
    assert len(caught.value.problems) == 13


def test_other_numbers_of_layers_are_told_with_both_numbers(tiny_llama: MakeModel) -> None:
    first, second = tiny_llama(0), tiny_llama(0, num_hidden_layers=2)
    with pytest.raises(RecipeError, match=f"{first} has 4, {second} has 2"):
        plan_of(first, second)


def test_a_layer_range_beyond_the_model_has_its_yaml_path(tiny_llama: MakeModel) -> None:
    source = {"model": str(tiny_llama(0)), "layer_range": [2, 9]}
    document = {"merge_method": "passthrough", "slices": [{"sources": [source]}]}
    with pytest.raises(
        RecipeError, match=r"slices\[0\].*layer_range: \[2, 9\] goes beyond .* 4 la"
    ):
        make_plan(parse_recipe(document)[0], Models())


def test_quantized_models_are_refused(tiny_llama: MakeModel, tmp_path: Path) -> None:
    good = tiny_llama(0)
    config = {"quantization_config": {"quant_method": "gptq"}}
    stated = altered(good, tmp_path / "stated", config)
    with pytest.raises(CheckpointError, match=r"is quantized\. Give the unquantized model"):
        plan_of(good, stated)
    packed = altered(good, tmp_path / "packed", None, **{UP: torch.zeros(48, 32).to(torch.int8)})
    with pytest.raises(RecipeError, match=f"{UP} in .*packed has dtype I8: quantized weights"):
        plan_of(good, packed)
    unset = altered(good, tmp_path / "unset", {"quantization_config": None})
    assert plan_of(good, unset).tensors


def test_all_models_that_cannot_be_opened_are_listed(tiny_llama: MakeModel, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(RecipeError, match="2 problems") as caught:
        plan_of(first, tiny_llama(0), second)
    assert [str(first) in str(caught.value), str(second) in str(caught.value)] == [True, True]
    with pytest.raises(CheckpointError, match=f"there is no model folder {first}"):
        plan_of(first, tiny_llama(0))


def test_mixed_dtypes_give_the_narrowest_that_holds_them_all(tiny_llama: MakeModel) -> None:
    brain, half = tiny_llama(0), tiny_llama(1, dtype="float16")
    full = tiny_llama(1, dtype="float32")
    assert plan_of(brain, brain).dtype == "bfloat16"
    assert plan_of(brain, half).dtype == "float32"
    assert plan_of(brain, full).dtype == "float32"
    assert plan_of(brain, full, dtype="float16").dtype == "float16"
    assert plan_of(brain, full, dtype="float16", out_dtype="bfloat16").dtype == "bfloat16"
    assert plan_of(brain, full).config["dtype"] == "float32"


# ------------------------------------------------------------------------------------- config


def stack(*parts: tuple[Path, int, int]) -> Plan:
    slices = [
        {"sources": [{"model": str(folder), "layer_range": [first, last]}]}
        for folder, first, last in parts
    ]
    document = {"merge_method": "passthrough", "slices": slices}
    return make_plan(parse_recipe(document)[0], Models())


def test_a_stacks_config_counts_its_layers_and_restacks_lists_per_layer(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    kinds = {"layer_types": list("abcd"), "eos_token_id": [1, 2, 3, 4]}
    first = altered(tiny_llama(0), tmp_path / "first", kinds)
    second = altered(tiny_llama(1), tmp_path / "second", {"layer_types": list("efgh")})
    config = stack((first, 0, 3), (second, 1, 4)).config
    assert config["num_hidden_layers"] == 6
    assert config["layer_types"] == ["a", "b", "c", "f", "g", "h"]
    assert config["eos_token_id"] == [1, 2, 3, 4], "four end tokens, not one per layer"


def test_a_stack_of_a_model_with_one_layer_keeps_its_architecture(tiny_llama: MakeModel) -> None:
    model = tiny_llama(0, num_hidden_layers=1)
    config = stack((model, 0, 1), (model, 0, 1)).config
    assert config["num_hidden_layers"] == 2
    assert config["architectures"] == ["LlamaForCausalLM"]


def test_a_source_without_a_list_per_layer_is_told_not_crashed_on(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    first = altered(tiny_llama(0), tmp_path / "first", {"layer_types": list("abcd")})
    with pytest.raises(
        RecipeError, match=r"slices: config.json of .* has no layer_types for layer 1"
    ):
        stack((first, 0, 3), (tiny_llama(1), 1, 2))


def test_a_stack_of_a_model_that_does_not_count_its_layers_is_refused(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    mute = altered(tiny_llama(0), tmp_path / "mute")
    settings = json.loads((mute / "config.json").read_text())
    del settings["num_hidden_layers"]
    (mute / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        RecipeError, match=r"slices: config.json of .* does not say how many layers"
    ):
        stack((mute, 0, 2), (mute, 1, 2))


# ---------------------------------------------------------------------------------- tokenizer


def with_tokenizer(source: Path, target: Path, word: str | None = None) -> Path:
    shutil.copytree(source, target)
    table = json.loads((locate("zoo:base") / "tokenizer.json").read_text())
    if word:
        table["model"]["vocab"][word] = len(table["model"]["vocab"])
    (target / "tokenizer.json").write_text(json.dumps(table))
    return target


def test_different_tokenizers_warn_and_their_union_has_all_tokens(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    first = with_tokenizer(tiny_llama(0), tmp_path / "first")
    same = with_tokenizer(tiny_llama(1), tmp_path / "same")
    other = with_tokenizer(tiny_llama(1), tmp_path / "other", "new")
    assert plan_of(first, same).warnings == ()
    (warning,) = plan_of(first, same, other).warnings
    assert warning == f"{other} has another tokenizer than {first}: merged embeddings mix tokens"
    assert plan_of(first, same, tokenizer_source="union").tokenizer.folder == first
    united = plan_of(first, other, tokenizer_source="union")
    assert united.tokenizer.vocabulary is not None
    assert "new" in united.tokenizer.vocabulary.tokens
    size = united.tokenizer.vocabulary.size
    assert {t.shape[0] for t in united.tensors if "embed" in t.name} == {size}
    assert united.config["vocab_size"] == size


@pytest.mark.parametrize("prefix", ["", "model:"])
def test_tokenizer_source_chooses_the_folder(
    tiny_llama: MakeModel, tmp_path: Path, prefix: str
) -> None:
    first = with_tokenizer(tiny_llama(0), tmp_path / "first")
    other = with_tokenizer(tiny_llama(1), tmp_path / "other", "new")
    source = f"{prefix}{other}"
    assert plan_of(first, other, tokenizer_source=source).tokenizer.folder == other
    assert plan_of(first, other).tokenizer.folder == first
    with pytest.raises(RecipeError, match="tokenizer_source: there is no model folder /nowhere"):
        plan_of(first, other, tokenizer_source=f"{prefix}/nowhere")


def test_a_damaged_tokenizer_is_one_clear_line(tiny_llama: MakeModel, tmp_path: Path) -> None:
    first = with_tokenizer(tiny_llama(0), tmp_path / "first")
    (first / "tokenizer.json").write_text("{")
    with pytest.raises(EvoMergeException, match=r"tokenizer.json is damaged") as caught:
        plan_of(first, tiny_llama(1))
    assert "\n" not in str(caught.value)


def test_a_plan_reads_headers_only(tiny_llama: MakeModel, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_llama(0), tmp_path / "model"))
    models = Models()
    recipe = parse_recipe(linear(model))[0]
    make_plan(recipe, models)
    (model / "model.safetensors").unlink()
    assert make_plan(recipe, models).tensors
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        models.fingerprints([str(model)])
