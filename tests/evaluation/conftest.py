"""Real lm-eval tasks in a folder of their own, and real tiny models to ask."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.inference.transformers_model import TransformersModel

MakeTasks = Callable[..., Path]


@pytest.fixture(scope="session")
def tasks() -> Path:
    """Return the folder of the tests' own tasks."""
    return Path(__file__).parent / "tasks"


@pytest.fixture
def own_tasks(tmp_path: Path, tasks: Path) -> Path:
    """Return a copy of the tasks, to be changed."""
    return Path(shutil.copytree(tasks, tmp_path / "own_tasks"))


@pytest.fixture(scope="session")
def zoo_model() -> Callable[[str], Any]:
    """Return load(name) -> a model of the zoo in float32, loaded once a session."""
    loaded: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in loaded:
            folder = locate(f"zoo:{name}")
            module = load_model(folder).float()
            module.generation_config.max_new_tokens = None  # it would override the tasks' own
            loaded[name] = TransformersModel(module, load_tokenizer(folder))
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def subword_model(tasks: Path) -> TransformersModel:
    """Return a random model whose tokens span letters and blanks, and which has no start token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    words = (tasks / "prose.jsonl").read_text() + (tasks / "choice_train.jsonl").read_text()
    rules = trainers.BpeTrainer(vocab_size=150, special_tokens=["</s>", "<unk>"])
    tokenizer.train_from_iterator(words.splitlines(), rules)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = LlamaConfig(
            **shape, num_hidden_layers=2, vocab_size=150, max_position_embeddings=48
        )
        module = LlamaForCausalLM(config).eval()
    module.generation_config.eos_token_id = module.generation_config.pad_token_id = 0
    return TransformersModel(module, wrapped)
