"""Layers are read off the tensors' names, for whatever architecture transformers builds."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import (
    Layout,
    is_head,
    read_layout,
    read_modules,
)

TINY: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24},
    "mistral": {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24},
    "qwen2": {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24},
    "gpt2": {"n_layer": 3, "n_embd": 16},
    "gpt_neox": {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24},
    "opt": {"num_hidden_layers": 3, "hidden_size": 16, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "bert": {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24},
    "t5": {"num_layers": 3, "num_decoder_layers": 2, "d_model": 16, "d_ff": 24, "d_kv": 4},
}
HEADS = {"llama", "mistral", "qwen2"}


def names_of(kind: str) -> tuple[dict[str, Any], list[str]]:
    settings = {"vocab_size": 32, **TINY[kind]}
    if "hidden_size" in settings:
        settings["num_attention_heads"] = 2
    if kind in HEADS:
        settings["num_key_value_heads"] = 2
    if kind in ("gpt2", "t5"):
        settings["n_head" if kind == "gpt2" else "num_heads"] = 2
    config = transformers.AutoConfig.for_model(kind, **settings)
    family = {
        "t5": transformers.AutoModelForSeq2SeqLM,
        "bert": transformers.AutoModelForMaskedLM,
    }.get(kind, transformers.AutoModelForCausalLM)
    with torch.device("meta"):
        names = list(family.from_config(config).state_dict())
    return config.to_dict(), names


@pytest.mark.parametrize(
    ("kind", "stack", "key"),
    [
        ("llama", "model.layers.", "num_hidden_layers"),
        ("mistral", "model.layers.", "num_hidden_layers"),
        ("qwen2", "model.layers.", "num_hidden_layers"),
        ("gpt2", "transformer.h.", "n_layer"),
        ("gpt_neox", "gpt_neox.layers.", "num_hidden_layers"),
        ("opt", "model.decoder.layers.", "num_hidden_layers"),
        ("bert", "bert.encoder.layer.", "num_hidden_layers"),
    ],
)
def test_the_layer_stack_of_a_real_model_is_found(kind: str, stack: str, key: str) -> None:
    config, names = names_of(kind)
    layout = read_layout(config, names)
    assert (layout.stack, layout.layers, layout.layer_key) == (stack, 3, (key,))
    inside = {layout.name(layer, part) for layer in range(3) for part in layout.parts}
    assert {name for name in names if name.startswith(stack)} <= inside
    assert sorted([*layout.before, *layout.after, *(inside & set(names))]) == sorted(names)
    assert layout.before, "embeddings stand before the layers"
    for name in layout.before:
        assert any(word in name for word in ("embed", "wte", "wpe", "shared")), name


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "opt"])
def test_the_head_stands_after_the_layers(kind: str) -> None:
    config, names = names_of(kind)
    heads = [name for name in names if is_head(name)]
    assert heads == ["lm_head.weight"]
    assert set(heads) <= set(read_layout(config, names).after)
    assert is_head("embed_out.weight"), "as GPT-NeoX calls it in its files"


@settings(deadline=None, max_examples=50)
@given(
    layers=st.integers(1, 120),
    parts=st.lists(st.sampled_from(["attn.weight", "mlp.0.weight", "norm.bias"]), unique=True),
    prefix=st.sampled_from(["h.", "model.layers.", "a.b.h."]),
)
def test_every_tensor_is_in_the_stack_or_before_it_or_after_it(
    layers: int, parts: list[str], prefix: str
) -> None:
    inside = [f"{prefix}{layer}.{part}" for layer in range(layers) for part in parts]
    outside = ["model.embed_tokens.weight", "norm.weight", "lm_head.weight"]
    layout = read_layout({"num_hidden_layers": layers}, [*inside, *outside])
    if parts and layers > 1:
        assert layout.layers == layers
        assert set(layout.parts) == set(parts)
        for name in inside:
            place = layout.locate(name)
            assert place is not None
            assert layout.name(*place) == name
    assert layout.before == ("model.embed_tokens.weight",)
    assert set(layout.after) == {"norm.weight", "lm_head.weight"}


def test_the_stack_whose_length_the_config_states_wins_over_a_larger_one() -> None:
    names = [f"vision.blocks.{i}.{part}" for i in range(9) for part in ("a", "b", "c")]
    names += [f"text.layers.{i}.w" for i in range(2)]
    assert read_layout({"num_hidden_layers": 2}, names).stack == "text.layers."
    assert read_layout({"text_config": {"num_hidden_layers": 2}}, names).stack == "text.layers."
    assert read_layout({}, names).stack == "text.layers.", "text comes before pictures"
    plain = [name.replace("vision", "first").replace("text", "second") for name in names]
    assert read_layout({}, plain).stack == "first.blocks.", "nothing is stated: the largest"


def test_a_model_without_layers_has_an_empty_stack() -> None:
    layout = read_layout({}, ["weight", "wte.weight"])
    assert (layout.stack, layout.layers, layout.parts) == ("", 0, ())
    assert (layout.before, layout.after, layout.layer_key) == (("wte.weight",), ("weight",), None)
    assert layout.locate("weight") is None


# ------------------------------------------------------------------------------ several stacks


def stack(prefix: str, layers: int, *parts: str) -> list[str]:
    return [f"{prefix}{i}.{part}" for i in range(layers) for part in parts or ("a.weight",)]


def by_module(config: dict[str, Any], names: list[str]) -> dict[str, Layout]:
    layouts = read_modules(config, names)
    members = [
        {layout.name(i, p) for i in range(layout.layers) for p in layout.parts} & set(names)
        | {*layout.before, *layout.after}
        for layout in layouts
    ]
    assert sorted(name for member in members for name in member) == sorted(names)
    assert layouts[0] == read_layout(config, names)
    return {layout.module: layout for layout in layouts}


def test_t5_is_a_decoder_an_encoder_and_what_they_share() -> None:
    config, names = names_of("t5")
    found = by_module(config, names)
    assert list(found) == ["decoder", "encoder", "shared"]
    assert found["encoder"].stack == "encoder.block."
    assert (found["encoder"].layers, found["encoder"].layer_key) == (3, ("num_layers",))
    assert (found["decoder"].layers, found["decoder"].layer_key) == (2, ("num_decoder_layers",))
    assert found["shared"].layers == 0
    assert {*found["shared"].before, *found["shared"].after} == {"shared.weight", "lm_head.weight"}


SEES = {"text_config": {"num_hidden_layers": 2}, "vision_config": {"num_hidden_layers": 2}}


@pytest.mark.parametrize(
    ("text", "vision", "bridge"),
    [
        ("language_model.model.layers.", "vision_tower.encoder.layers.", "multi_modal_projector"),
        ("model.language_model.layers.", "model.vision_tower.layers.", "model.connector"),
        ("model.layers.", "visual.blocks.", "visual.merger"),
    ],
)
def test_a_model_that_sees_has_a_decoder_a_tower_and_a_projector(
    text: str, vision: str, bridge: str
) -> None:
    loose = [f"{bridge}.mlp.0.weight", f"{bridge}.mlp.2.weight", "lm_head.weight"]
    names = [*stack(text, 2), *stack(vision, 2, "a", "b", "c"), *loose, f"{vision[:7]}x.bias"]
    config = SEES | {"tie_word_embeddings": False}
    found = by_module(config, names)
    assert list(found) == ["text_decoder", "vision_tower", "multi_modal_projector"]
    assert found["text_decoder"].stack == text
    assert found["text_decoder"].layer_key == ("text_config", "num_hidden_layers")
    assert found["vision_tower"].layer_key == ("vision_config", "num_hidden_layers")
    assert found["multi_modal_projector"].layer_key is None
    assert len(found["multi_modal_projector"].after) == 2
    assert "lm_head.weight" in found["text_decoder"].after


def test_a_tower_keeps_the_name_its_model_gives_it() -> None:
    names = [*stack("language_model.model.layers.", 2), *stack("vision_model.model.layers.", 2)]
    assert list(by_module(SEES, names)) == ["text_decoder", "vision_model"]


def test_experts_are_parts_of_their_layer_even_where_there_are_as_many_as_layers() -> None:
    names = stack("model.layers.", 4, *stack("mlp.experts.", 4, "up.weight"), "mlp.gate.weight")
    (layout,) = read_modules({"num_hidden_layers": 4, "num_experts": 4}, names)
    assert (layout.stack, layout.layers, len(layout.parts)) == ("model.layers.", 4, 5)
    assert layout.locate("model.layers.3.mlp.experts.2.up.weight") == (3, "mlp.experts.2.up.weight")


def test_a_stack_within_a_numbered_module_is_found_by_its_stated_length() -> None:
    names = ["models.0.embed.weight", *stack("models.0.layers.", 5), "models.0.norm.weight"]
    (layout,) = read_modules({"num_hidden_layers": 5}, names)
    assert (layout.stack, layout.layers) == ("models.0.layers.", 5)


def test_a_small_stack_within_others_is_none_by_chance() -> None:
    names = [*stack("model.layers.", 4), *stack("codes.down.", 5, "a", *stack("attn.", 2))]
    config = {"num_hidden_layers": 4, "vq_config": {"num_hidden_layers": 2}}
    assert list(by_module(config, names)) == ["default"]


def test_a_stack_takes_the_key_of_the_part_that_is_called_like_it() -> None:
    names = [*stack("model.text.layers.", 3, "a"), *stack("model.action.layers.", 3, "a", "b")]
    counts = {"num_hidden_layers": 3}
    found = by_module({"text_config": counts, "action_config": counts}, names)
    keys = {layout.stack: layout.layer_key for layout in found.values()}
    assert keys["model.text.layers."] == ("text_config", "num_hidden_layers")
    assert keys["model.action.layers."] == ("action_config", "num_hidden_layers")


def test_a_layer_more_than_the_config_states_belongs_to_the_stack() -> None:
    names = stack("model.layers.", 4, *stack("mlp.experts.", 7))
    (layout,) = read_modules({"num_hidden_layers": 3}, names)
    assert (layout.stack, layout.layers) == ("model.layers.", 4)


@pytest.mark.parametrize("odd", ["²", "٣", "12345", "9" * 400])
@pytest.mark.parametrize("stated", [3, 10**12, -1, True])
def test_what_is_no_number_of_a_layer_makes_no_layer(odd: str, stated: int) -> None:
    names = [*stack("model.layers.", 3), f"model.layers.{odd}.w"]
    (layout,) = read_modules({"num_hidden_layers": stated}, names)
    assert (layout.stack, layout.layers) == ("model.layers.", 3)
    assert layout.locate(names[-1]) is None


def test_two_stacks_of_no_known_role_are_called_by_their_prefixes() -> None:
    names = [*stack("left.layers.", 2), *stack("right.h.", 3), "left.norm.weight"]
    found = by_module({"num_hidden_layers": 3, "n_layer": 2}, names)
    assert set(found) == {"left", "right"}
    assert found["left"].after == ("left.norm.weight",)


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(
        st.from_regex(
            r"(model|visual|encoder|decoder)(\.(layers|h|merger)\.[0-4])?(\.[0-2])?\.w",
            fullmatch=True,
        ),
        unique=True,
    ),
    stated=st.dictionaries(
        st.sampled_from(["num_hidden_layers", "n_layer", "decoder_layers"]), st.integers(0, 5)
    ),
)
def test_whatever_the_names_every_tensor_is_in_exactly_one_module(
    names: list[str], stated: dict[str, int]
) -> None:
    by_module(stated, names)
