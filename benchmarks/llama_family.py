"""Write a family of Llama checkpoints fast: a base and three models near it, bf16, sharded.

Base: N(0, 0.02), norms 1 + N(0, 0.02). Each model: the base plus a step of rms 1e-3 on every entry,
rounded to bf16. All is drawn from one seed, in blocks whose buffers are reused.
"""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

MODELS = ("base", "a", "b", "c")
SEED = 2026
SPREAD, STEP = 0.02, 1e-3
SHARD_BYTES = 1_000_000_000
BLOCK = 1 << 22
COMPLETE = "family.json"


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a Llama."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int = 32_000

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape."""
        h, kv = self.hidden, self.hidden // self.heads * self.kv_heads
        layer = {
            "input_layernorm": (h,),
            "mlp.down_proj": (h, self.mlp),
            "mlp.gate_proj": (self.mlp, h),
            "mlp.up_proj": (self.mlp, h),
            "post_attention_layernorm": (h,),
            "self_attn.k_proj": (kv, h),
            "self_attn.o_proj": (h, h),
            "self_attn.q_proj": (h, h),
            "self_attn.v_proj": (kv, h),
        }
        table: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary, h)}
        for number in range(self.layers):
            table |= {f"model.layers.{number}.{name}.weight": s for name, s in layer.items()}
        return table | {"model.norm.weight": (h,), "lm_head.weight": (self.vocabulary, h)}

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.tensors().values())

    @property
    def bytes(self) -> int:
        """Size of a checkpoint's data, bf16."""
        return 2 * self.parameters

    @property
    def config(self) -> dict[str, object]:
        """config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.mlp,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
            "dtype": "bfloat16",
        }


SIZES = {
    "1.1b": Size(hidden=2048, mlp=5632, layers=22, heads=32, kv_heads=4),  # TinyLlama's shape
    "tiny": Size(hidden=512, mlp=1408, layers=8, heads=8, kv_heads=4),
}


def make_family(folder: Path, size: Size) -> None:
    """Write the family, unless it is there already."""
    marker, stamp = folder / COMPLETE, {"seed": SEED, **asdict(size)}
    if marker.exists():
        if json.loads(marker.read_text()) != stamp:
            raise SystemExit(f"{folder} holds another family: remove it, or name another folder")
        return
    for model in MODELS:
        (folder / model).mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(SEED)
    shards = _partition(size)
    for number, names in enumerate(shards, start=1):
        file = _shard_name(number, len(shards))
        with ExitStack() as stack:
            files = [stack.enter_context((folder / m / file).open("wb")) for m in MODELS]
            for handle in files:
                handle.write(_header(names))
            for name, shape in names.items():
                _write_tensor(files, name, shape, generator)
    for model in MODELS:
        _write_rest(folder / model, size, shards)
    marker.write_text(json.dumps(stamp))


def make_sparse(folder: Path, gigabytes: float) -> Size:
    """Write `base` and `a`, files with nothing but holes of about so many GB each."""
    shape = {"hidden": 4096, "mlp": 11008, "heads": 32, "kv_heads": 32}
    none, one = (Size(layers=n, **shape).bytes for n in (0, 1))
    size = Size(layers=max(1, round((gigabytes * 1e9 - none) / (one - none))), **shape)
    shards = _partition(size)
    for model in MODELS[:2]:
        (folder / model).mkdir(parents=True)
        for number, names in enumerate(shards, start=1):
            header, data = _header(names), 2 * sum(prod(s) for s in names.values())
            with (folder / model / _shard_name(number, len(shards))).open("wb") as handle:
                handle.write(header)
                handle.truncate(len(header) + data)
        _write_rest(folder / model, size, shards)
    return size


def read_all(folder: Path) -> None:
    """Bring every weight file under the folder into the page cache."""
    buffer = bytearray(BLOCK)
    for file in sorted(folder.rglob("*.safetensors")):
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def _partition(size: Size) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    filled = 0
    for name, shape in size.tensors().items():
        if filled + 2 * prod(shape) > SHARD_BYTES and shards[-1]:
            shards.append({})
            filled = 0
        shards[-1][name] = shape
        filled += 2 * prod(shape)
    return shards


def _header(names: dict[str, tuple[int, ...]]) -> bytes:
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in names.items():
        end = at + 2 * prod(shape)
        table[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _write_tensor(
    files: list[BinaryIO], name: str, shape: tuple[int, ...], generator: torch.Generator
) -> None:
    mean = 1.0 if name.endswith("norm.weight") else 0.0
    for base, step, rounded in _blocks(prod(shape)):
        base.normal_(mean, SPREAD, generator=generator)
        for number, handle in enumerate(files):
            if number:
                step.normal_(0.0, STEP, generator=generator).add_(base)
            rounded.copy_(step if number else base)
            handle.write(rounded.view(torch.uint8).numpy().data)


def _blocks(
    count: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    base, step = torch.empty(BLOCK), torch.empty(BLOCK)
    rounded = torch.empty(BLOCK, dtype=torch.bfloat16)
    for start in range(0, count, BLOCK):
        length = min(BLOCK, count - start)
        yield base[:length], step[:length], rounded[:length]


def _write_rest(folder: Path, size: Size, shards: list[dict[str, tuple[int, ...]]]) -> None:
    weight_map = {
        name: _shard_name(number, len(shards))
        for number, names in enumerate(shards, start=1)
        for name in names
    }
    index = {"metadata": {"total_size": size.bytes}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(size.config, indent=2))
    os.sync()


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"
