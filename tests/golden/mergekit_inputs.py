"""Tiny checkpoints made from seeds, and digests of tensors: what regenerate.py and the test share.

Numbers come from the raw 64-bit stream of numpy's Philox generator, which is the same in every
version, and from sums and products alone, so that every machine makes the same bytes.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

Array = NDArray[Any]
HIDDEN, MLP, HEADS, HEAD, LAYERS, VOCABULARY = 16, 24, 2, 8, 4, 40
WEIGHT_SCALE = 0.5
STEPS = {"base": 0.0, "a": 0.1, "b": 0.06, "c": 0.03}
"""Rms of each model's difference from the base; 30 % of its entries are exactly zero."""
ZERO_SHARE = 0.3
SAMPLES = 24
PROJECTIONS = 2

LETTERS = "abcdefghijklmnop"
VOCABULARIES: dict[str, tuple[list[str], list[str], int]] = {
    "base": (["<unk>", "<s>", "</s>"], [*LETTERS, "ab", "cd"], 24),
    "a": (["<unk>", "<s>", "</s>", "<tool>"], [*reversed(LETTERS), "ef", "ab", "q"], 27),
    "b": (["<s>", "</s>", "<pad>", "<unk>"], [*LETTERS, "r", "cd", "rs", "s"], 26),
    "c": (["<unk>", "<s>", "</s>"], [*LETTERS, "ab", "cd"], 21),
}
"""Model -> special tokens, ordinary tokens, rows of its embedding (some have rows to spare)."""


def draw(key: str, size: int) -> Array:
    """Return `size` float64 numbers of mean 0 and variance 1: twelve uniforms less six."""
    stream = np.random.Philox(key=zlib.crc32(key.encode()))
    uniform = (stream.random_raw(12 * size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    total = np.zeros(size)
    for part in uniform.reshape(12, size):
        total += part
    return total - 6.0


def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a Llama of four layers."""
    table: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(LAYERS):
        table |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in _LAYER.items()}
    return table | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (vocabulary, HIDDEN)}


_LAYER = {
    "input_layernorm": (HIDDEN,),
    "post_attention_layernorm": (HIDDEN,),
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (HEAD, HIDDEN),
    "self_attn.v_proj": (HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (MLP, HIDDEN),
    "mlp.up_proj": (MLP, HIDDEN),
    "mlp.down_proj": (HIDDEN, MLP),
}


def make_tensor(model: str, name: str, shape: tuple[int, ...]) -> Array:
    """Return a model's tensor, float32: the base's plus a step whose entries are partly zero."""
    size = int(np.prod(shape))
    values = draw(f"base/{name}", size) * WEIGHT_SCALE + (1.0 if len(shape) == 1 else 0.0)
    moved = np.abs(draw(f"{model}/{name}/moved", size)) > _QUANTILE
    values += draw(f"{model}/{name}", size) * moved * STEPS[model] / (1 - ZERO_SHARE) ** 0.5
    return values.astype(np.float32).reshape(shape)


_QUANTILE = 0.385  # of the absolute value of a standard normal number, at ZERO_SHARE


def make_family(folder: Path) -> None:
    """Write `base`, `a`, `b`, `c` (one vocabulary) and `words/…` (a vocabulary each)."""
    for model in STEPS:
        _write(folder / model, model, VOCABULARY)
    for model, (special, plain, rows) in VOCABULARIES.items():
        _write(folder / "words" / model, model, rows)
        _write_tokenizer(folder / "words" / model, special, plain)


def _write(folder: Path, model: str, vocabulary: int) -> None:
    folder.mkdir(parents=True)
    tensors = {name: make_tensor(model, name, s) for name, s in shapes(vocabulary).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "head_dim": HEAD,
        "num_hidden_layers": LAYERS,
        "vocab_size": vocabulary,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write_tokenizer(folder: Path, special: list[str], plain: list[str]) -> None:
    vocabulary = {token: number for number, token in enumerate([*special, *plain])}
    merges = [(token[0], token[1]) for token in plain if len(token) == 2]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer.decoder = decoders.Fuse()  # type: ignore[assignment]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def reorder_rows(
    tensors: Mapping[str, Array], tokens: list[str], wanted: list[str]
) -> dict[str, Array]:
    """Bring the rows of embeddings, which stand in the order of `tokens`, into that of `wanted`.

    Rows beyond the tokens stay where they are.
    """
    if tokens == wanted:
        return dict(tensors)
    places = {token: number for number, token in enumerate(tokens)}
    moved = dict(tensors)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rest = range(len(tokens), len(tensors[name]))
        moved[name] = tensors[name][[*(places[token] for token in wanted), *rest]]
    return moved


def digest(tensors: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
    """Return per tensor some of its elements, and projections that see every element.

    A projection is the sum of all elements with signs drawn from the tensor's name and size,
    divided by the root of their number: one element that is off by x moves it by x/√n.
    """
    table = {}
    for name, tensor in sorted(tensors.items()):
        flat = tensor.reshape(-1).astype(np.float64)
        places = np.argsort(draw(f"places/{len(flat)}", len(flat)), kind="stable")[:SAMPLES]
        signs = np.sign(draw(f"signs/{len(flat)}", PROJECTIONS * len(flat)))
        sums = signs.reshape(PROJECTIONS, len(flat)) @ flat / len(flat) ** 0.5
        table[name] = flat[places].astype(np.float32), sums
    return table
