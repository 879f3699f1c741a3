"""Tiny models, adapters that peft made of them, and what peft makes of both: the oracle."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

MakeModel = Callable[..., Path]
MakeAdapter = Callable[..., Path]
Merge = Callable[..., dict[str, Tensor]]


@contextmanager
def the_oracle_may_warn() -> Iterator[None]:
    """Let peft use what transformers deprecates: its warnings are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Return make(seed) -> folder of a random GPT-2 of 2 layers, float32."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 32, "vocab_size": 40}
    tokens = {"bos_token_id": 1, "eos_token_id": 2}
    made: dict[int, Path] = {}

    def make(seed: int = 0) -> Path:
        if seed not in made:
            made[seed] = tmp_path_factory.mktemp("gpt2")
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                GPT2LMHeadModel(GPT2Config(**shape, **tokens)).save_pretrained(made[seed])
        return made[seed]

    return make


@pytest.fixture(scope="session")
def make_adapter(tmp_path_factory: pytest.TempPathFactory) -> MakeAdapter:
    """Return make(base folder, seed, dtype=…, **LoraConfig) -> folder of a random adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    @the_oracle_may_warn()
    def make(base: Path, seed: int = 0, *, dtype: str = "float32", **settings: Any) -> Path:
        folder = tmp_path_factory.mktemp("adapter")
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model.config._name_or_path = str(base)
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        random = torch.Generator().manual_seed(seed)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=random)
                parameter.data = (parameter.data + 0.1 * noise).to(getattr(torch, dtype))
        adapted.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def merge_with_peft() -> Merge:
    """Return merge(base, adapter) -> the state that peft's merge_and_unload gives, float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    @the_oracle_may_warn()
    def merge(base: Path, adapter: Path) -> dict[str, Tensor]:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return {name: tensor.detach() for name, tensor in merged.state_dict().items()}

    return merge


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    """Return run(base, adapter) -> logits of the base with the adapter loaded by peft."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    @the_oracle_may_warn()
    def logits(base: Path, adapter: Path | None = None) -> Tensor:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if adapter:
            model = PeftModel.from_pretrained(model, adapter)
        with torch.no_grad():
            output: Tensor = model.eval()(torch.arange(3, 30).view(1, -1)).logits
        return output

    return logits
