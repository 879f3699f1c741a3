"""Every model and the plainest merges, measured on every task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from files import Progress
from lora import answer_logits, encode, load_model
from safetensors.torch import load_file
from tasks import TASKS, Item, load_items
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

LIMIT, BATCH = 100, 25
MERGES = {
    "uniform average": 1 / 3,
    "task arithmetic 0.5": 0.5,
    "task arithmetic 0.7": 0.7,
    "task arithmetic 1.0": 1.0,
}


@torch.inference_mode()
def measure(out: Path) -> str:
    """The cross table in Markdown: the share of right answers on the first search items."""
    items = {task: load_items(out, task, "search", LIMIT) for task in TASKS}
    tokenizer = AutoTokenizer.from_pretrained(out / "base")
    progress = Progress("cross table", (1 + len(TASKS) + len(MERGES)) * len(TASKS), "cell", 0.0)
    lines = [f"| model | {' | '.join(TASKS)} | mean |", "|---" * (len(TASKS) + 2) + "|"]
    for name, model in models(out):
        scores = []
        for task in TASKS:
            scores.append(share_right(model, tokenizer, items[task]))
            progress.advance(note=f"{name}: {task} {scores[-1]:.2f}")
        cells = " | ".join(f"{score:.2f}" for score in scores)
        lines.append(f"| {name} | {cells} | {sum(scores) / len(scores):.3f} |")
    return "\n".join(lines)


def models(out: Path) -> Iterator[tuple[str, PreTrainedModel]]:
    """Base, specialists, merges by name, one after the other in the same parameters."""
    model = load_model(out / "base")
    yield "base", model
    base = {name: weight.clone() for name, weight in model.named_parameters()}
    specialists = [load_file(out / task / "model.safetensors") for task in TASKS]
    for task, specialist in zip(TASKS, specialists, strict=True):
        add_task_vectors(model, base, [specialist], 1.0)
        yield f"specialist {task}", model
    for name, weight in MERGES.items():
        add_task_vectors(model, base, specialists, weight)
        yield name, model


def add_task_vectors(
    model: PreTrainedModel,
    base: dict[str, Tensor],
    specialists: list[dict[str, Tensor]],
    weight: float,
) -> None:
    """Writes base + weight * sum(specialist - base) into the model; 1/n is the plain average.

    Values are rounded to bfloat16, as they would be in a saved merge.
    """
    for name, parameter in model.named_parameters():
        change = sum((s[name].float() - base[name] for s in specialists), torch.zeros(()))
        parameter.copy_((base[name] + weight * change).bfloat16())


def share_right(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: list[Item]
) -> float:
    """The share of items answered rightly: by choice where there are choices, else in full."""
    right = by_choice if "choices" in items[0] else in_full
    return right(model, tokenizer, items) / len(items)


def in_full(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: list[Item]) -> int:
    """How many answers greedy decoding would give exactly, the end token included.

    The true answer is fed in one pass: greedy decoding gives it if and only if every token of it
    is the most probable one after those before.
    """
    right = 0
    for start in range(0, len(items), BATCH):
        ids, labels = encode(tokenizer, items[start : start + BATCH])
        answer = labels >= 0
        hits = torch.ones_like(answer)
        hits[answer] = answer_logits(model, ids, labels).argmax(-1) == labels[answer]
        right += int(hits.all(-1).sum())
    return right


def by_choice(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: list[Item]) -> int:
    """How many items give their right choice the highest log-likelihood of all choices.

    Prompts of one length share a batch, so that nothing is padded; a prompt is read once and its
    cache repeated for the choices.
    """
    groups = defaultdict(list)
    for item in items:
        prompt = tokenizer(item["prompt"]).input_ids
        groups[len(prompt)].append((prompt, item["answer"]))
    choices = [tokenizer(choice).input_ids for choice in items[0]["choices"]]
    right = 0
    for group in groups.values():
        prompts, answers = zip(*group, strict=True)
        best = choice_scores(model, torch.tensor(prompts), choices).argmax(-1)
        right += int((best == torch.tensor(answers)).sum())
    return right


def choice_scores(model: PreTrainedModel, prompts: Tensor, choices: list[list[int]]) -> Tensor:
    """Log-likelihoods (prompts, choices) of the choices after each of the equally long prompts."""
    read = model(prompts, use_cache=True, logits_to_keep=1)
    first = torch.tensor([choice[0] for choice in choices])
    scores: Tensor = read.logits[:, 0].log_softmax(-1)[:, first]
    read.past_key_values.batch_repeat_interleave(len(choices))
    ids, labels = continuation(choices)
    ids, labels = ids.repeat(len(prompts), 1), labels.repeat(len(prompts), 1)
    hidden = model.base_model(ids, past_key_values=read.past_key_values).last_hidden_state
    logits = model.get_output_embeddings()(hidden[labels >= 0])
    likelihoods = torch.zeros(labels.shape)
    likelihoods[labels >= 0] = -cross_entropy(logits, labels[labels >= 0], reduction="none")
    return scores + likelihoods.sum(-1).view_as(scores)


def continuation(choices: list[list[int]]) -> tuple[Tensor, Tensor]:
    """The choices' tokens but the last, and the token that follows each; -100 where none does."""
    shape = len(choices), max(map(len, choices)) - 1
    ids, labels = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
    for row, choice in enumerate(choices):
        ids[row, : len(choice) - 1] = torch.tensor(choice[:-1])
        labels[row, : len(choice) - 1] = torch.tensor(choice[1:])
    return ids, labels
