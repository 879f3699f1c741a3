"""The only door to transformers' model classes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def find_device() -> str:
    """Return the best device here: 'cuda', 'mps' or 'cpu'."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_device(asked: str) -> str:
    """Return the device that a user asks for; 'auto' is the best one here.

    Raises:
        CheckpointError: this machine has no such device.
    """
    import torch

    if asked == "auto":
        return find_device()
    kind = asked.partition(":")[0]
    usable = {"cpu": True, "cuda": torch.cuda.is_available()}
    if not usable.get(kind, False):
        raise CheckpointError(
            f"this machine cannot compute on {asked!r}", "Choose --device cpu, or auto"
        )
    return asked


def find_arithmetic(dtype: str, device: str) -> str:
    """Return the dtype in which a model of `dtype` runs fastest here.

    That is float32 where the processor would
    only imitate half precision (8 to 13 times slower on a CPU with AVX2 alone).
    """
    import torch

    if device != "cpu" or dtype not in ("bfloat16", "float16"):
        return dtype
    half = "bf16" if dtype == "bfloat16" else "fp16"
    native = getattr(torch.ops.mkldnn, f"_is_mkldnn_{half}_supported", lambda: False)
    return dtype if native() else "float32"


def build_model(config: Mapping[str, Any], dtype: str, device: str = "cpu") -> Any:
    """Build a causal language model of the given configuration, its weights undefined.

    Args:
        config: the contents of a config.json.
        dtype: of the parameters, e.g. 'bfloat16'.
        device: where the parameters live.

    Raises:
        CheckpointError: transformers does not know the architecture.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    settings = {k: v for k, v in config.items() if k not in ("model_type", "auto_map")}
    try:
        parsed = AutoConfig.for_model(config.get("model_type", ""), **settings)
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(parsed, dtype=getattr(torch, dtype))
    except Exception as error:  # each architecture refuses in its own way
        kind = config.get("model_type", "nameless")
        raise CheckpointError(
            f"transformers cannot build a {kind!r} model: {_reason(error)}",
            "Update transformers, or evaluate with an evaluator that needs no model",
        ) from None
    model.tie_weights()
    model.generation_config.do_sample = False
    return model.to(device).eval()


def load_model(folder: Path, device: str = "cpu") -> Any:
    """Load a causal language model from a folder, in the folder's dtype."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    return model.to(device).eval()


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder.

    Raises:
        CheckpointError: there is none that transformers can read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the Rust library raises the bare class
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: {_reason(error)}",
            "Copy the tokenizer files of its base model beside it",
        ) from None


def _reason(error: Exception) -> str:
    """Return what an error says in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
