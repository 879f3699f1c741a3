"""Models as folders: what training leaves, and where it goes on from."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM

from evomerge.zoo.tokenizer import END, PAD, START, save_tokenizer


def write_model(
    model: LlamaForCausalLM,
    folder: Path,
    vocabulary: Mapping[str, int],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights in `dtype`, configs and tokenizer; `model` itself stays as it is.

    safetensors makes its files readable by their owner alone; these are for everybody.
    """
    stored = deepcopy(model).to(dtype)
    stored.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=16,
        pad_token_id=vocabulary[PAD],
        bos_token_id=vocabulary[START],
        eos_token_id=vocabulary[END],
    )
    stored.save_pretrained(folder)
    save_tokenizer(folder, stored.config.max_position_embeddings, vocabulary)
    for file in folder.iterdir():
        file.chmod(0o644)


def load_model(folder: Path) -> LlamaForCausalLM:
    """Load stored weights, in float32 for training."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
