"""Tiny random models of many architectures, a tokenizer of letters, the plainest forward pass."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.inference.transformers_model import TransformersModel

LIMIT = 48
LETTERS = "abcdefghij =é漢"
GROUPED = {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 1, "head_dim": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 6},
    "gemma2": {
        **GROUPED, "sliding_window": 6, "final_logit_softcapping": 5.0, "query_pre_attn_scalar": 8
    },
    "gemma3_text": {**GROUPED, "sliding_window": 6, "layer_types": [
        "sliding_attention", "full_attention"
    ]},
    "glm4": GROUPED,
    "cohere": {**GROUPED, "logit_scale": 0.3},
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 24},
    "opt": {"hidden_size": 16, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2},
    "gpt_neo": {
        "hidden_size": 16, "attention_types": [[["global", "local"], 1]], "window_size": 6
    },
    "phi3": {
        "hidden_size": 16, "intermediate_size": 24, "original_max_position_embeddings": 20,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 20,
            "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
        },
    },
}  # fmt: skip
"""Grouped heads, windows, capped and scaled logits, learnt positions, ALiBi, no attention, padding
that is read (RWKV), tables of masks (GPT-Neo), positions that turn with the length (Phi-3)."""
DEEPER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 4},
    "mistral": {"sliding_window": 4},
    "gemma2": {"sliding_window": 4},
    "gemma3_text": {"sliding_window": 4, "layer_types": [
        "full_attention", "sliding_attention", "full_attention", "sliding_attention"
    ]},
}  # fmt: skip
"""How a model of four layers differs further; where there are none, its rotary embedding turns at
another rate."""
TURNED = {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}
OWN_SIZES = ("gpt2", "bloom", "mamba", "rwkv")

MakeModel = Callable[..., TransformersModel]
Naive = Callable[[TransformersModel, Sequence[int], Sequence[int]], float]


def make_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Make a tokenizer of characters, and of the pair 'ab', with or without a start token."""
    words = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS, "ab"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("ab|."), "isolated")
    core.decoder = decoders.Fuse()
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, **special, **({"bos_token": "<s>"} if bos else {})
    )


@cache
def make_model(
    kind: str,
    *,
    bos: bool = True,
    attention: str | None = None,
    limit: int = LIMIT,
    deeper: bool = False,
) -> TransformersModel:
    if kind == "zoo":
        folder = locate("zoo:base")
        return TransformersModel(load_model(folder).float(), load_tokenizer(folder))
    common = {"num_attention_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": limit}
    tokens = {"vocab_size": 24, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    sizes = {**SHAPES[kind], **({} if kind in OWN_SIZES else common), **tokens}
    if deeper:
        sizes |= {"num_hidden_layers": 4} | DEEPER.get(kind, TURNED)
    config = AutoConfig.for_model(
        kind, **(sizes | ({"n_positions": limit} if kind == "gpt2" else {}))
    )
    with torch.random.fork_rng():
        torch.manual_seed(8 if deeper else 7)
        module = AutoModelForCausalLM.from_config(
            config, **({"attn_implementation": attention} if attention else {})
        )
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and "conv" not in name and "A_log" not in name:
                torch.nn.init.normal_(parameter, std=0.7)
    return TransformersModel(module.eval(), make_tokenizer(bos=bos))


@pytest.fixture(scope="session")
def make() -> MakeModel:
    """Return make(kind, bos=, attention=, limit=, deeper=) -> a tiny model with random weights."""
    return make_model


@pytest.fixture(scope="session")
def naive() -> Naive:
    """Return naive(model, context, tail): one forward pass of one row, no cache, no padding."""

    def score(model: TransformersModel, context: Sequence[int], tail: Sequence[int]) -> float:
        with torch.inference_mode():
            ids = torch.tensor([[*context, *tail][:-1]])
            logits = model.module(input_ids=ids).logits[0].double().log_softmax(-1)
            places = range(len(context) - 1, len(context) + len(tail) - 1)
            return sum(float(logits[p, t]) for p, t in zip(places, tail, strict=True))

    return score
