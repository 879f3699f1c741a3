"""Fixtures shared by all tests: tiny checkpoints made from seeds, and a quiet environment."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # oversubscribed threads cost 10 to 50 times
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Return make(seed, **config) -> folder of a random Llama of 4 layers, made once a session."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(
        seed: int = 0, *, dtype: str = "bfloat16", shard: str = "5GB", **settings: Any
    ) -> Path:
        key = (seed, dtype, shard, tuple(sorted(settings.items())))
        if key not in made:
            made[key] = _make(tmp_path_factory.mktemp("llama"), seed, dtype, shard, settings)
        return made[key]

    return make


def _make(folder: Path, seed: int, dtype: str, shard: str, settings: dict[str, Any]) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 64,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**{**shape, **settings}))
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
    return folder
