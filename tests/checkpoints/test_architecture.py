"""Layers are read off the tensors' names, for whatever architecture transformers builds."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import is_head, read_layout

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
        ("t5", "encoder.block.", "num_layers"),
    ],
)
def test_the_layer_stack_of_a_real_model_is_found(kind: str, stack: str, key: str) -> None:
    config, names = names_of(kind)
    layout = read_layout(config, names)
    assert (layout.stack, layout.layers, layout.layer_key) == (stack, 3, key)
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
    assert read_layout({}, names).stack == "vision.blocks."


def test_a_model_without_layers_has_an_empty_stack() -> None:
    layout = read_layout({}, ["weight", "wte.weight"])
    assert (layout.stack, layout.layers, layout.parts) == ("", 0, ())
    assert (layout.before, layout.after, layout.layer_key) == (("wte.weight",), ("weight",), None)
    assert layout.locate("weight") is None
