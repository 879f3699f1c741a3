"""Tiny models of several architectures, made once a session from seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeFamily = Callable[..., Path]

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
    "mistral": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
    "qwen2": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
    "mixtral": {"hidden_size": 16, "intermediate_size": 24, "num_local_experts": 2},
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 24},
    "opt": {"hidden_size": 16, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "qwen3": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8},
    "phi3": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
    "gemma2": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8,
               "sliding_window": 4},
    "gemma3_text": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2,
                    "head_dim": 8, "sliding_window": 4},
    "olmo2": {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 3, "n_positions": 32},
}  # fmt: skip
COMMON = {"num_attention_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 32}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> MakeFamily:
    """Return make(kind, seed, dtype=…, **config) -> folder of a random model of 3 layers."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(kind: str, seed: int = 0, *, dtype: str = "bfloat16", **settings: Any) -> Path:
        key = (kind, seed, dtype, tuple(sorted(settings.items())))
        if key not in made:
            made[key] = _make(tmp_path_factory.mktemp(kind), kind, seed, dtype, settings)
        return made[key]

    return make


def _make(folder: Path, kind: str, seed: int, dtype: str, settings: dict[str, Any]) -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {} if kind == "gpt2" else COMMON
    tokens = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **{**SHAPES[kind], **common, **tokens, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # biases and norms start alike; make them differ
            torch.nn.init.normal_(parameter, std=0.1)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="12KB")
    return folder
