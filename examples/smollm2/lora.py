"""LoRA (Hu et al., 2021), by hand: train an adapter on one task, fold it into the base.

https://arxiv.org/abs/2106.09685

Written here because importing PEFT costs five seconds and the idea needs forty lines; the adapter
is saved in PEFT's format, so that PEFT reads it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from files import Progress, console, finished_folder
from safetensors.torch import load_file, save_file
from tasks import Item, load_items
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 16, 32
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Training:
    """How long and how fast an adapter is trained."""

    steps: int
    learning_rate: float = 1e-3
    batch: int = 16
    warmup: int = 5
    seed: int = 0


TRAINING = {
    "intent": Training(steps=40),
    "dates": Training(steps=30),
    "arithmetic": Training(steps=150),
}


class LoraLinear(nn.Module):
    """W x + (alpha / r) B A x with W frozen."""

    def __init__(self, linear: nn.Linear, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        down = torch.empty(RANK, linear.in_features).uniform_(-1, 1, generator=generator)
        self.lora_A = nn.Parameter(down / linear.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (..., in) -> (..., out)."""
        low = nn.functional.linear(x, self.lora_A)
        base: Tensor = self.linear(x)
        return base + nn.functional.linear(low, self.lora_B * (ALPHA / RANK))


def prepare_specialist(out: Path, task: str) -> None:
    """Writes `out/adapters/task` and `out/task`, those that are missing."""
    adapter, merged = out / "adapters" / task, out / task
    if not adapter.exists():
        train(out, task, adapter)
    if not merged.exists():
        merge(out / "base", adapter, merged)
    console.print(f"{task:<12} is in {merged}")


def train(out: Path, task: str, target: Path) -> None:
    """Trains an adapter of `out/base` on the task and saves it into `target`."""
    settings = TRAINING[task]
    model = load_model(out / "base")
    tokenizer = AutoTokenizer.from_pretrained(out / "base")
    adapters = attach(model, settings.seed)
    parameters = [weight for lora in adapters.values() for weight in (lora.lora_A, lora.lora_B)]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: pace(step, settings))
    progress = Progress(task, settings.steps, "step")
    for batch in batches(load_items(out, task, "train"), settings):
        loss = answer_loss(model, *encode(tokenizer, batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        progress.advance(note=f"loss {loss.item():.3f}")
    save_adapter(adapters, target)


def load_model(folder: Path) -> PreTrainedModel:
    """The model of a folder, its parameters frozen and in float32.

    A CPU without instructions for bfloat16 takes about ten times as long for products in it, and
    longer still for gradients; float32 is fast enough everywhere.
    """
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False)


def attach(model: PreTrainedModel, seed: int) -> dict[str, LoraLinear]:
    """Wraps every linear layer of the blocks; returns the wrappers by the layers' names."""
    generator = torch.Generator().manual_seed(seed)
    found = [name for name, _ in model.named_modules() if name.endswith(LINEAR)]
    adapters = {}
    for name in found:
        parent, _, child = name.rpartition(".")
        adapters[name] = LoraLinear(model.get_submodule(name), generator)
        setattr(model.get_submodule(parent), child, adapters[name])
    return adapters


def pace(step: int, settings: Training) -> float:
    """The share of the learning rate: a short warm-up, then linearly down to a tenth."""
    return min((step + 1) / settings.warmup, 1 - 0.9 * step / settings.steps)


def batches(items: list[Item], settings: Training) -> Iterator[list[Item]]:
    """Shuffled batches, as many as there are steps; an item returns when all have been seen."""
    rng = random.Random(settings.seed)
    queue: list[Item] = []
    for _ in range(settings.steps):
        if len(queue) < settings.batch:
            queue = rng.sample(items, len(items))
        yield queue[: settings.batch]
        queue = queue[settings.batch :]


def encode(tokenizer: PreTrainedTokenizerFast, items: list[Item]) -> tuple[Tensor, Tensor]:
    """Token ids and labels, both (items, length), padded on the right.

    A label is the next token where that belongs to the answer or ends it, and -100 elsewhere.
    Padding follows the text, which therefore never attends to it: no mask is needed.
    """
    prompts = tokenizer([item["prompt"] for item in items]).input_ids
    answers = tokenizer([item["target"] for item in items]).input_ids
    length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(items), length), tokenizer.eos_token_id)
    labels = torch.full((len(items), length), -100)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) - 1 : end] = torch.tensor([*answer, tokenizer.eos_token_id])
    return ids, labels


def answer_logits(model: PreTrainedModel, ids: Tensor, labels: Tensor) -> Tensor:
    """Logits (answer tokens, vocabulary), the head applied at these positions only."""
    hidden: Tensor = model.base_model(ids, use_cache=False).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(hidden[labels >= 0])
    return logits


def answer_loss(model: PreTrainedModel, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the answers' tokens and the token that ends them."""
    return nn.functional.cross_entropy(answer_logits(model, ids, labels), labels[labels >= 0])


def save_adapter(adapters: dict[str, LoraLinear], target: Path) -> None:
    """Writes the adapter in PEFT's format, as float32."""
    tensors = {}
    for name, lora in adapters.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = lora.lora_A.detach().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = lora.lora_B.detach().contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "../../base",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(LINEAR),
        "inference_mode": True,
    }
    with finished_folder(target) as folder:
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Folds the adapter into the base: computed in float32, rounded to bfloat16 once."""
    model, tokenizer = load_model(base), AutoTokenizer.from_pretrained(base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name in {key.rpartition(".lora_")[0] for key in tensors}:
        change = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
        weight = model.get_submodule(name.removeprefix(PREFIX)).weight
        weight += (ALPHA / RANK) * change
    with finished_folder(target) as folder:
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
