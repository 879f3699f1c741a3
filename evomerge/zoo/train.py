"""Train the zoo: `python -m evomerge.zoo.train OUT_FOLDER [--seed 0]`.

One thread, about seventy CPU seconds. Everything random comes from generators made from the seed
and passed on. Building a model in transformers draws from torch's global generator; that draw is
fenced off and its result overwritten, so no global generator is read, and none is left changed.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from evomerge.zoo.model_folder import load_model, write_model
from evomerge.zoo.tasks import DEFAULT_SEED, RULES, draw_input, write_items, write_prompt
from evomerge.zoo.tokenizer import END, PAD, START, VOCABULARY

POSITIONS: Final = 64
IGNORED: Final = -100
MODELS: Final = ("base", *RULES)


@dataclass(frozen=True)
class Training:
    """How one model is trained.

    Attributes:
        mixture: tasks and their shares of the examples.
        steps: optimizer steps.
        batch: examples a step.
        learning_rate: the highest one.
        warm_up: first steps, over which the rate rises from zero.
        cool_down: last steps, over which it falls to zero; 0 holds it to the end.
    """

    mixture: dict[str, float]
    steps: int
    batch: int
    learning_rate: float
    warm_up: int
    cool_down: int


# The shares keep every task half learned. The rate is held to the end: specialists of a base that
# was cooled down forget the other tasks at once, and no merge of them is worth anything.
BASE: Final = Training(
    mixture={"reverse": 0.46, "sort": 0.32, "successor": 0.12, "duplicate": 0.10},
    steps=150,
    batch=96,
    learning_rate=2e-3,
    warm_up=20,
    cool_down=0,
)


def specialize(task: str) -> Training:
    """Give the training that makes a specialist of the base.

    Shorter, and a weighted average of the four already has all tasks; longer, and none has any.
    """
    return Training(
        mixture={task: 1.0},
        steps=75,
        batch=96,
        learning_rate=4e-4,
        warm_up=10,
        cool_down=65,
    )


def configure_model() -> LlamaConfig:
    """Give the architecture: 785,664 parameters."""
    return LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=128,
        intermediate_size=336,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=VOCABULARY[PAD],
        bos_token_id=VOCABULARY[START],
        eos_token_id=VOCABULARY[END],
        dtype="float32",
    )


def create_model(seed: int) -> LlamaForCausalLM:
    """Create the untrained model: matrices normal with deviation 0.02, norms one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(configure_model())
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02, generator=generator)
    return model


def draw_task(mixture: dict[str, float], generator: random.Random) -> str:
    """Draw a task by its share."""
    point = generator.random() * sum(mixture.values())
    for task, share in mixture.items():
        point -= share
        if point < 0:
            return task
    return next(reversed(mixture))


def encode_example(task: str, word: str) -> tuple[list[int], list[int]]:
    """Encode question and answer; only the answer and the end after it carry loss.

    Returns:
        token ids and labels, both [tokens]; the label at t is the token at t + 1.
    """
    question = [VOCABULARY[character] for character in write_prompt(task, word)]
    answer = [VOCABULARY[character] for character in RULES[task](word)]
    ids = [VOCABULARY[START], *question, *answer]
    return ids, [IGNORED] * len(question) + answer + [VOCABULARY[END]]


def draw_batch(training: Training, generator: random.Random) -> tuple[Tensor, Tensor]:
    """Draw examples that are not held out, padded on the right.

    Returns:
        token ids and labels, both int64 [batch, tokens].
    """
    tasks = [draw_task(training.mixture, generator) for _ in range(training.batch)]
    rows = [encode_example(task, draw_input(task, generator, held_out=False)) for task in tasks]
    longest = max(len(ids) for ids, _ in rows)
    ids = [row + [VOCABULARY[PAD]] * (longest - len(row)) for row, _ in rows]
    labels = [row + [IGNORED] * (longest - len(row)) for _, row in rows]
    return torch.tensor(ids), torch.tensor(labels)


def schedule(step: int, training: Training) -> float:
    """Give the learning rate at a step counted from one."""
    rising = step / training.warm_up
    falling = (training.steps + 1 - step) / training.cool_down if training.cool_down else 1.0
    return training.learning_rate * min(1.0, rising, falling)


def train_model(model: LlamaForCausalLM, training: Training, seed: str) -> Iterator[float]:
    """Train in place with AdamW; each step yields its loss in nats a token."""
    generator = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    for step in range(1, training.steps + 1):
        optimizer.param_groups[0]["lr"] = schedule(step, training)
        ids, labels = draw_batch(training, generator)
        logits = model(input_ids=ids).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def train_family(folder: Path, seed: int, report: Callable[[str], object]) -> None:
    """Train and write the base, then each specialist from the base as stored."""
    for name in MODELS:
        start = time.process_time()
        model = create_model(seed) if name == "base" else load_model(folder / "models" / "base")
        training = BASE if name == "base" else specialize(name)
        losses = list(train_model(model, training, f"{seed}:{name}"))
        write_model(model, folder / "models" / name, VOCABULARY, torch.bfloat16)
        report(f"{name}: loss {losses[-1]:.3f}, {time.process_time() - start:.0f} CPU seconds\n")


def main() -> None:
    """Read the command line, train the models, write the items."""
    parser = argparse.ArgumentParser(description="Train the zoo of tiny models.")
    parser.add_argument("folder", type=Path, help="where to put models/ and tasks/")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    train_family(arguments.folder, arguments.seed, sys.stdout.write)
    write_items(arguments.folder / "tasks")


if __name__ == "__main__":
    main()
