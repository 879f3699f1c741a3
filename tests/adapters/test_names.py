"""What a module's name says: where it belongs, and whether it is an embedding."""

import pytest

from evomerge.adapters.names import is_embedding, is_token_embedding, live_name, shorten


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("model.layers.0.mlp", "layers.0.mlp"),
        ("transformer.h.0.attn", "h.0.attn"),
        ("language_model.model.layers.0.mlp", "model.language_model.layers.0.mlp"),
        ("gpt_neox.embed_in", "embed_in"),
    ],
)
def test_wrappers_make_no_difference(one: str, other: str) -> None:
    assert shorten(one) == shorten(other)


def test_names_within_a_model_stay_apart() -> None:
    names = ["encoder.block.0.q", "decoder.block.0.q", "lm_head", "model", "model.decoder.layers.0"]
    assert len({shorten(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("module", "embedding", "of_tokens"),
    [
        ("model.embed_tokens", True, True),
        ("transformer.wte", True, True),
        ("transformer.wpe", True, False),
        ("bert.embeddings.word_embeddings", True, True),
        ("bert.embeddings.position_embeddings", True, False),
        ("bert.embeddings.token_type_embeddings", True, False),
        ("gpt_neox.embed_in", True, True),
        ("embed_out", False, False),
        ("lm_head", False, False),
        ("shared", True, True),
        ("model.embedding_projection", False, False),
        ("model.layers.0.self_attn.q_proj", False, False),
    ],
)
def test_embeddings_are_known_by_name(module: str, embedding: bool, of_tokens: bool) -> None:
    assert (is_embedding(module), is_token_embedding(module)) == (embedding, of_tokens)


def test_old_files_leave_out_what_live_models_say() -> None:
    assert live_name("h.0.attn.c_attn", "gpt2") == "transformer.h.0.attn.c_attn"
    assert live_name("transformer.h.0.attn.c_attn", "gpt2") == "transformer.h.0.attn.c_attn"
    assert live_name("lm_head", "gpt2") == "lm_head"
    assert live_name("layers.0.q", "llama") == "layers.0.q"
