"""The same tensor under its many names, and what a model may lack."""

import pytest

from evomerge.checkpoints.spelling import find_spelling, find_tensor, is_optional, is_tied


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("transformer.h.0.ln_1.weight", "h.0.ln_1.weight"),
        ("h.0.ln_1.weight", "transformer.h.0.ln_1.weight"),
        ("bert.encoder.layer.1.output.LayerNorm.weight", "encoder.layer.1.output.LayerNorm.gamma"),
        ("embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias"),
        ("model.decoder.layers.0.fc1.bias", "decoder.layers.0.fc1.bias"),
        ("language_model.model.layers.0.a", "model.language_model.layers.0.a"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.layers.0.a", "model.language_model.layers.0.a"),
        ("visual.blocks.0.a", "model.visual.blocks.0.a"),
        ("model.vision_tower.encoder.layers.0.a", "vision_tower.vision_model.encoder.layers.0.a"),
        ("embed_out.weight", "lm_head.weight"),
        ("lm_head.decoder.bias", "lm_head.bias"),
        ("encoder.embed_tokens.weight", "shared.weight"),
    ],
)
def test_a_tensor_is_found_by_its_other_name(asked: str, stored: str) -> None:
    entries = {stored: 1, "model.layers.7.other.weight": 2}
    untied = {"tie_word_embeddings": False}
    assert find_tensor(asked, entries, untied) == stored == find_spelling(asked, entries)
    assert find_tensor(stored, {asked: 1}, untied) == asked, "and the other way round"
    assert find_tensor(asked, {asked: 1, stored: 2}, untied) == asked, "its own name comes first"


@pytest.mark.parametrize(
    ("asked", "entries"),
    [
        ("model.layers.0.mlp.weight", {"model.layers.1.mlp.weight"}),
        ("encoder.block.0.a", {"decoder.block.0.a"}),
        ("model.encoder.layers.0.a", {"model.decoder.layers.0.a"}),
        ("vision_tower.encoder.layers.0.a", {"model.layers.0.a", "encoder.layers.0.a"}),
        ("model.norm.weight", {"model.norm.bias"}),
        ("lm_head.dense.weight", {"model.embed_tokens.weight"}),
    ],
)
def test_another_tensor_is_not_taken_for_it(asked: str, entries: set[str]) -> None:
    assert find_tensor(asked, entries, {}) is None


@pytest.mark.parametrize(
    ("head", "embedding"),
    [
        ("lm_head.weight", "model.embed_tokens.weight"),
        ("lm_head.weight", "transformer.wte.weight"),
        ("lm_head.weight", "wte.weight"),
        ("lm_head.weight", "transformer.word_embeddings.weight"),
        ("lm_head.weight", "model.decoder.embed_tokens.weight"),
        ("lm_head.weight", "backbone.embeddings.weight"),
        ("lm_head.weight", "shared.weight"),
        ("language_model.lm_head.weight", "language_model.model.embed_tokens.weight"),
        ("embed_out.weight", "gpt_neox.embed_in.weight"),
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
        ("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight"),
        ("decoder.weight", "model.embeddings.tok_embeddings.weight"),
        ("proj_out.weight", "model.decoder.embed_tokens.weight"),
        ("output.weight", "model.tok_embeddings.weight"),
    ],
)
def test_a_tied_head_is_its_embedding(head: str, embedding: str) -> None:
    for config in ({}, {"tie_word_embeddings": True}):
        assert find_tensor(head, {embedding: 1}, config) == embedding
        assert find_spelling(head, {embedding: 1}) is None
        assert is_optional(head, config)
    untied = {"tie_word_embeddings": False}
    assert find_tensor(head, {embedding: 1}, untied) is None
    assert not is_optional(head, untied)


def test_whether_heads_are_tied_is_read_where_the_configuration_says_it() -> None:
    assert is_tied({})
    assert not is_tied({"text_config": {"tie_word_embeddings": False}})
    assert is_tied({"tie_word_embeddings": True, "text_config": {"tie_word_embeddings": False}})


def test_buffers_and_heads_of_pretraining_may_be_lacking_but_weights_may_not() -> None:
    untied = {"tie_word_embeddings": False}
    lacking = [
        "h.0.attn.bias", "transformer.h.0.attn.masked_bias", "bert.embeddings.position_ids",
        "model.layers.0.self_attn.rotary_emb.inv_freq", "bert.pooler.dense.weight",
        "gpt_neox.layers.0.attention.bias", "final_logits_bias", "cls.seq_relationship.bias",
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
    ]  # fmt: skip
    needed = [
        "h.0.attn.c_attn.bias", "model.layers.0.self_attn.q_proj.bias", "lm_head.weight",
        "model.embed_tokens.weight", "model.decoder.embed_tokens.weight",
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    ]  # fmt: skip
    assert [name for name in lacking if not is_optional(name, untied)] == []
    assert [name for name in needed if is_optional(name, untied)] == []
    shared = {"is_encoder_decoder": True, "tie_word_embeddings": True}
    assert is_optional("decoder.embed_tokens.weight", shared)
    assert not is_optional("model.decoder.embed_tokens.weight", {"tie_word_embeddings": True})
