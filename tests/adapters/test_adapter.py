"""An adapter folds into a model's tensors as peft folds it, and what does not fit is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.contents import read_tensor
from evomerge.checkpoints.reader import Checkpoint
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]
MakeAdapter = Callable[..., Path]
Merge = Callable[..., dict[str, Tensor]]

LLAMA: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "target_modules": ["q_proj", "down_proj"]},
    "all linear": {"r": 3, "lora_alpha": 7, "target_modules": "all-linear"},
    "rslora": {"r": 5, "lora_alpha": 9, "use_rslora": True, "target_modules": ["k_proj"]},
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "up_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 6,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "rank_pattern": {"v_proj": 2, r"layers\.1\.self_attn\.q_proj": 7},
        "alpha_pattern": {"v_proj": 5, r".*\.3\.mlp\.down_proj": 11},
    },
    "embeddings": {"r": 4, "target_modules": ["embed_tokens", "q_proj"]},
    "embeddings dora": {"r": 4, "use_dora": True, "target_modules": ["embed_tokens", "o_proj"]},
    "saved modules": {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]},
    "biases": {"r": 2, "target_modules": ["q_proj"], "bias": "all"},
    "biases of adapted modules": {"r": 2, "target_modules": ["q_proj"], "bias": "lora_only"},
    "lora_bias": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj"], "lora_bias": True},
}
GPT2: dict[str, dict[str, Any]] = {
    "conv1d": {"r": 4, "target_modules": ["c_attn", "c_proj", "c_fc"]},
    "conv1d dora": {"r": 4, "use_dora": True, "target_modules": ["c_attn", "c_proj"]},
    "conv1d rslora": {"r": 3, "use_rslora": True, "target_modules": ["c_proj", "wte"]},
}


def apply(base: Path, adapter: Adapter) -> dict[str, Tensor]:
    """Return every tensor of the model as the adapter makes it, float32."""
    entries = Checkpoint(str(base)).entries
    assert adapter.check({name: entry.shape for name, entry in entries.items()}) == []
    adapted = {}
    for name, entry in entries.items():
        tensor = read_tensor(adapter.replacement(name) or entry).float()
        patch = adapter.patch(name, entry.shape)
        if patch:
            patch.apply(tensor if tensor.dim() > 1 else tensor.view(1, -1))
        adapted[name] = tensor
    return adapted


def assert_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, tensor in ours.items():
        scale = theirs[name].square().mean().sqrt()
        assert (tensor - theirs[name]).abs().max() <= 2e-6 * scale, name


@pytest.mark.parametrize("kind", LLAMA)
def test_llama_is_adapted_as_peft_adapts_it(
    tiny_llama: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge, kind: str
) -> None:
    base = tiny_llama(7, dtype="float32", attention_bias=True, tie_word_embeddings=False)
    folder = make_adapter(base, 1, **LLAMA[kind])
    before = apply_nothing(base)
    ours = apply(base, Adapter(str(folder)))
    assert_alike(ours, merge_with_peft(base, folder))
    assert any(not torch.equal(ours[name], before[name]) for name in ours)


def apply_nothing(base: Path) -> dict[str, Tensor]:
    return {n: read_tensor(e).float() for n, e in Checkpoint(str(base)).entries.items()}


@pytest.mark.parametrize("kind", GPT2)
def test_gpt2_whose_weights_lie_the_other_way_is_adapted_too(
    tiny_gpt2: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge, kind: str
) -> None:
    base = tiny_gpt2(3)
    folder = make_adapter(base, 1, **GPT2[kind])
    assert_alike(apply(base, Adapter(str(folder))), merge_with_peft(base, folder))
