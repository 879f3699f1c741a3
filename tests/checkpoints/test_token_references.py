"""Tensors that count tokens are found, and ids in a configuration keep their meaning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.checkpoints.token_references import update_ids, vocabulary_axis
from evomerge.checkpoints.vocabulary import build_vocabulary

V, H = 96, 32
FAMILIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "LlamaForCausalLM": ({}, {"model.embed_tokens.weight", "lm_head.weight"}),
    "GPT2LMHeadModel": ({"n_embd": H, "n_layer": 1, "n_head": 2}, {"transformer.wte.weight"}),
    "GPTNeoXForCausalLM": ({}, {"gpt_neox.embed_in.weight", "embed_out.weight"}),
    "OPTForCausalLM": (
        {"ffn_dim": 40, "word_embed_proj_dim": H, "max_position_embeddings": V},
        {"model.decoder.embed_tokens.weight"},
    ),
    "FalconForCausalLM": ({}, {"transformer.word_embeddings.weight"}),
    "PhiForCausalLM": ({}, {"model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"}),
    "BertForMaskedLM": (
        {},
        {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"},
    ),
    "RobertaForMaskedLM": ({}, {"roberta.embeddings.word_embeddings.weight", "lm_head.bias"}),
    "DistilBertForMaskedLM": (
        {"dim": H, "n_layers": 1, "n_heads": 2, "hidden_dim": 40},
        {"distilbert.embeddings.word_embeddings.weight", "vocab_projector.bias"},
    ),
    "T5ForConditionalGeneration": (
        {"d_model": H, "d_kv": 16, "d_ff": 40, "num_layers": 1, "num_heads": 2},
        {"shared.weight"},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tensors_with_a_row_for_each_token_are_found(family: str, tmp_path: Path) -> None:
    import transformers
    from safetensors import safe_open

    settings, expected = FAMILIES[family]
    kind = getattr(transformers, family)
    shape = {"hidden_size": H, "intermediate_size": 40, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "vocab_size": V, "pad_token_id": 0, "bos_token_id": 1}
    if family == "GPT2LMHeadModel":
        shape = {"vocab_size": V}
    config = kind.config_class(**(shape | settings))
    kind(config).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - not a dict
    found = {n: vocabulary_axis(n, s, config.to_dict()) for n, s in shapes.items()}
    assert {name for name, axis in found.items() if axis is not None} == expected
    assert set(found.values()) == {None, 0}


def test_a_bias_of_the_logits_counts_tokens_on_its_last_axis() -> None:
    assert vocabulary_axis("final_logits_bias", (1, V), {"vocab_size": V}) == 1
    assert vocabulary_axis("final_logits_bias", (1, V), {"vocab_size": V + 1}) is None


def test_names_alone_decide_where_the_configuration_states_no_size() -> None:
    assert vocabulary_axis("model.embed_tokens.weight", (7, 3), {}) == 0
    assert vocabulary_axis("model.layers.0.mlp.down_proj.weight", (7, 3), {}) is None


def test_a_vision_language_models_vocabulary_is_its_text_parts() -> None:
    config = {"text_config": {"vocab_size": V}, "vision_config": {"vocab_size": 7}}
    assert vocabulary_axis("model.language_model.embed_tokens.weight", (V, H), config) == 0
    assert vocabulary_axis("model.vision_tower.embeddings.weight", (7, H), config) is None


BASE = ("<unk>", "<s>", "</s>", "a", "<image>")


def test_ids_mean_the_same_tokens_in_another_models_tokenizer(
    write_tokenizer_json: Callable[..., Path],
) -> None:
    turned = ("</s>", "<image>", "<unk>", "<end>", "<s>")
    special = {"eos_token": {"content": "<end>"}, "bos_token": None, "pad_token": "<unk>"}
    folders = {
        "base": write_tokenizer_json("base", BASE),
        "chat": write_tokenizer_json("chat", turned, settings=special),
    }
    vocabulary = build_vocabulary(folders, "base", rows={"base": 5, "chat": 5}, source="chat")
    config = {
        "bos_token_id": 1,
        "eos_token_id": [2],
        "pad_token_id": None,
        "unk_token_id": 0,
        "sep_token_id": 3,
        "decoder_start_token_id": 90,
        "image_token_index": 4,
        "vocab_size": 5,
        "text_config": {"eos_token_id": 2, "hidden_size": 2},
    }
    assert update_ids(config, vocabulary, "base") == {
        "bos_token_id": 4,
        "eos_token_id": [3, 0],
        "pad_token_id": None,
        "unk_token_id": 2,
        "sep_token_id": None,
        "decoder_start_token_id": None,
        "image_token_index": 1,
        "vocab_size": 5,
        "text_config": {"eos_token_id": 3, "hidden_size": 2},
    }


def test_a_configuration_stays_as_it_is_where_the_tokenizer_is_its_models_own(
    write_tokenizer_json: Callable[..., Path],
) -> None:
    own, other = {"eos_token": "a"}, {"eos_token": "<end>"}
    folders = {
        "base": write_tokenizer_json("base", BASE, settings=own),
        "chat": write_tokenizer_json("chat", BASE, added=["<end>"], settings=other),
    }
    vocabulary = build_vocabulary(folders, "base", rows={"base": 8, "chat": 8})
    config = {"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": -1}
    assert update_ids(config, vocabulary, "base") == config
