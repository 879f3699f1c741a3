"""Measure the zoo: `python -m evomerge.zoo.measure [--split test] [--dtype bfloat16]`.

Prints a Markdown table: each stored model, and the plainest merges of them, by the share of items
answered exactly under greedy decoding. The formulas are written out here in a few lines each, on
purpose: the numbers are a reference for the package's own methods and must not rest on them.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as Fast
from transformers.utils.logging import disable_progress_bar

from evomerge.zoo.tasks import RULES, SPLITS, Item, read_items

FOLDER: Final = Path(__file__).parent
SPECIALISTS: Final = tuple(RULES)
ARITHMETIC_WEIGHTS: Final = (0.3, 0.5, 0.7, 1.0)
TIES_SETTINGS: Final = ((0.1, 0.5), (0.2, 0.5), (0.2, 0.7), (0.5, 0.5), (0.5, 1.0))

State = dict[str, Tensor]


def load_state(name: str) -> State:
    """Load a stored model's tensors, in float32."""
    tensors = load_file(FOLDER / "models" / name / "model.safetensors")
    return {key: tensor.float() for key, tensor in tensors.items()}


def subtract_base(base: State, models: list[State]) -> State:
    """Give the task vectors, stacked: [models, *shape] for each tensor."""
    return {key: torch.stack([model[key] - base[key] for model in models]) for key in base}


def add_scaled(base: State, vectors: State, weight: float) -> State:
    """Add every task vector times `weight` (task arithmetic); 1 / models is the average."""
    return {key: base[key] + weight * vectors[key].sum(0) for key in base}


def keep_largest(vectors: Tensor, density: float) -> Tensor:
    """Set all but the largest `density` of each model's entries to zero: [models, *shape]."""
    flat = vectors.flatten(1)
    kept = flat.abs().topk(max(1, round(density * flat.shape[1])), dim=1).indices
    return torch.zeros_like(flat).scatter(1, kept, flat.gather(1, kept)).view_as(vectors)


def add_ties(base: State, vectors: State, density: float, weight: float) -> State:
    """Trim, elect a sign, average what agrees with it (TIES, Yadav et al., 2023)."""
    merged = {}
    for key in base:
        trimmed = keep_largest(vectors[key], density)
        agrees = (trimmed.sign() == trimmed.sum(0).sign()) & (trimmed != 0)
        mean = (trimmed * agrees).sum(0) / agrees.sum(0).clamp(min=1)
        merged[key] = base[key] + weight * mean
    return merged


def create_candidates() -> Iterator[tuple[str, State]]:
    """Create what is measured, one after another: name and tensors, in float32."""
    base = load_state("base")
    models = [load_state(name) for name in SPECIALISTS]
    yield from zip(("base", *SPECIALISTS), (base, *models), strict=True)
    vectors = subtract_base(base, models)
    yield "uniform average", add_scaled(base, vectors, 1 / len(models))
    for weight in ARITHMETIC_WEIGHTS:
        yield f"task arithmetic {weight}", add_scaled(base, vectors, weight)
    for density, weight in TIES_SETTINGS:
        yield f"TIES {density}, {weight}", add_ties(base, vectors, density, weight)


def group_by_length(items: list[Item]) -> list[list[Item]]:
    """Put prompts of one length together, so that no batch needs padding."""
    groups: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        groups[len(item.prompt)].append(item)
    return list(groups.values())


def count_correct(model: LlamaForCausalLM, tokenizer: Fast, items: list[Item]) -> int:
    """Count the items whose greedy answer, up to the end token, is the target."""
    prompts = tokenizer([item.prompt for item in items], return_tensors="pt")
    written = model.generate(prompts.input_ids, attention_mask=prompts.attention_mask)
    answers = tokenizer.batch_decode(
        written[:, prompts.input_ids.shape[1] :], skip_special_tokens=True
    )
    return sum(answer == item.target for answer, item in zip(answers, items, strict=True))


def score_model(model: LlamaForCausalLM, tokenizer: Fast, items: list[Item]) -> float:
    """Give the share of items answered exactly, 0 to 1."""
    groups = group_by_length(items)
    return sum(count_correct(model, tokenizer, group) for group in groups) / len(items)


def write_row(name: str, scores: list[float]) -> str:
    """Write one line of the table: the scores, their mean, the worst."""
    cells = [*scores, sum(scores) / len(scores), min(scores)]
    return f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |\n"


def measure_family(split: str, dtype: torch.dtype) -> Iterator[str]:
    """Measure every candidate, rounded to bfloat16 and run in `dtype`; yields table lines."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "models" / "base")
    model = AutoModelForCausalLM.from_pretrained(FOLDER / "models" / "base", dtype=dtype)
    items = [read_items(FOLDER / "tasks" / f"{task}.jsonl", split) for task in SPECIALISTS]
    yield f"| model | {' | '.join(SPECIALISTS)} | mean | worst |\n"
    yield "|---" * (len(SPECIALISTS) + 3) + "|\n"
    for name, state in create_candidates():
        rounded = {key: tensor.bfloat16() for key, tensor in state.items()}
        model.load_state_dict({"lm_head.weight": rounded["model.embed_tokens.weight"], **rounded})
        yield write_row(name, [score_model(model, tokenizer, task) for task in items])


def main() -> None:
    """Read the command line and print the table line by line."""
    parser = argparse.ArgumentParser(description="Measure the zoo and its plainest merges.")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    for line in measure_family(arguments.split, getattr(torch, arguments.dtype)):
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
