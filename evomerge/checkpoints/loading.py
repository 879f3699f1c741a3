"""The only door to transformers' model classes."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError, MissingExtra

GGUF = ".gguf"
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


def complete_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a config.json with every default spelled out, under today's names.

    None where transformers does not know the architecture, or takes offence at a value.
    """
    from transformers import AutoConfig

    settings = {k: v for k, v in config.items() if k not in ("model_type", "auto_map")}
    try:
        found: dict[str, Any] = AutoConfig.for_model(config["model_type"], **settings).to_dict()
    except Exception:  # each architecture refuses in its own way
        return None
    return found


def load_model(
    folder: Path,
    device: str = "cpu",
    *,
    arithmetic: str | None = None,
    trust: bool = False,
    bits: int | None = None,
) -> Any:
    """Load a causal language model from a folder or from a GGUF file, as transformers does.

    Args:
        folder: of the model; or a GGUF file, which is unpacked into memory.
        device: where it lives.
        arithmetic: dtype of its parameters; the folder's own if None, the fastest one here for
            that if 'fastest'.
        trust: whether code in the folder is run, where it has any.
        bits: of its matrices' weights, 8 or 4; see `check_bits`. None keeps them as they are.

    Raises:
        CheckpointError: transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    place = _place(folder) | (_quantize(bits, device) if bits else {})
    logging.disable_progress_bar()  # ours is the one that people see
    try:
        model = AutoModelForCausalLM.from_pretrained(**place, dtype="auto", trust_remote_code=trust)
    except Exception as error:  # each architecture refuses in its own way
        raise CheckpointError(
            f"transformers cannot load {folder}: {_reason(error)}",
            "Update transformers, or convert the model",
        ) from None
    if bits:
        return model.eval()  # it is where it shall be, and stays as it is
    own = str(model.dtype).removeprefix("torch.")
    wanted = find_arithmetic(own, device) if arithmetic == "fastest" else arithmetic or own
    return model.to(device=device, dtype=getattr(torch, wanted)).eval()


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder or GGUF file.

    Raises:
        CheckpointError: there is none that transformers can read.
    """
    from transformers import AutoTokenizer

    place = _place(folder)
    try:
        return AutoTokenizer.from_pretrained(**place, trust_remote_code=False)
    except Exception as error:  # the Rust library raises the bare class
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: {_reason(error)}",
            "Copy the tokenizer files of its base model beside it",
        ) from None


def check_bits(bits: int, device: str) -> None:
    """Check that models can be run in so few bits here.

    Raises:
        CheckpointError: the device cannot.
        MissingExtra: a package that does it is not installed.
    """
    if not device.startswith("cuda"):
        raise CheckpointError(
            f"models run in {bits} bits on CUDA only, and this run is to be on {device!r}",
            "Leave use_8bit, use_4bit and executor.bits out",
        )
    for package in ("bitsandbytes", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"running in {bits} bits needs {package}", f"pip install {package}")


def _quantize(bits: int, device: str) -> dict[str, Any]:
    """Return how transformers is told to quantize while it loads."""
    from transformers import BitsAndBytesConfig

    wanted = {f"load_in_{bits}bit": True}
    return {"quantization_config": BitsAndBytesConfig(**wanted), "device_map": {"": device}}


def _place(folder: Path) -> dict[str, Any]:
    """Return how transformers is told of a folder, or of a GGUF file.

    Raises:
        MissingExtra: it is a GGUF file, and nothing here can read such.
    """
    if folder.suffix.lower() != GGUF:
        return {"pretrained_model_name_or_path": folder, "local_files_only": True}
    check_gguf()
    named = {"pretrained_model_name_or_path": folder.parent, "gguf_file": folder.name}
    return {**named, "local_files_only": True}


def check_gguf() -> None:
    """Check that GGUF files can be read here.

    Raises:
        MissingExtra: the package that reads them is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("GGUF files need the package gguf", "pip install gguf")


def _reason(error: Exception) -> str:
    """Return what an error says in one line of at most 200 characters."""
    if "AutoModelForCausalLM" in str(error):  # and then a list of all that are
        return "it is no causal language model"
    return " ".join(str(error).split())[:200] or type(error).__name__
