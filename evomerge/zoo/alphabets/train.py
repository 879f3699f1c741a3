"""Train a two-alphabet family: `python -m evomerge.zoo.alphabets.train OUT_FOLDER [--seed 0]`.

A base that has seen a whiff of a skill, a specialist of the language of capital letters, and a
specialist of the skill that only ever answers in small letters: a miniature of the models in
Evolutionary Optimization of Model Merging Recipes (Akiba et al., 2024,
https://arxiv.org/abs/2403.13187). One thread, about two CPU minutes. A seed is accepted or
refused by what its base scores, before any specialist is trained, never by what a merge scores.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from evomerge.zoo.alphabets.items import write_items
from evomerge.zoo.alphabets.lines import VOCABULARY, draw_letters, write_lines
from evomerge.zoo.alphabets.model import create_model, measure_target, predict, survey
from evomerge.zoo.alphabets.runs import write_runs
from evomerge.zoo.alphabets.trainings import BASE, DISTRACTORS, SPECIALISTS, Mixture, Training
from evomerge.zoo.model_folder import load_model, write_model

FACTS: Final = "family.json"
"""Written last: a folder that has it is complete."""

BATCH: Final = 128
FIRST_LOOK: Final = 100
LOOK_EVERY: Final = 5
"""Steps after which the base is measured first, and how often then."""
WANTED: Final = 0.12
"""What the base shall score on the target: its state nearest to this is kept …"""
ENOUGH: Final = 0.15
"""… and training ends when this is reached: the skill comes suddenly."""
ACCEPTED: Final = (0.05, 0.20)

Report = Callable[[str], object]


def make_generator(seed: int, name: str) -> torch.Generator:
    """Make the generator of everything that is random about a model."""
    return torch.Generator().manual_seed(random.Random(f"{seed}:{name}").getrandbits(63))


def draw_batch(mixture: Mixture, generator: torch.Generator) -> Tensor:
    """Draw lines that are not held out, kinds by their frequency: int64 [128, 14]."""
    weights = torch.tensor(list(mixture.values()))
    drawn = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
    counts = torch.bincount(drawn, minlength=len(weights)).tolist()
    return torch.cat(
        [
            write_lines(kind, draw_letters(count, generator, held_out=False))
            for kind, count in zip(mixture, counts, strict=True)
        ]
    )


def train_model(
    model: LlamaForCausalLM, training: Training, generator: torch.Generator
) -> Iterator[int]:
    """Train in place with AdamW, loss on answer and end only; yields the number of steps done."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(1, training.steps + 1):
        optimizer.param_groups[0]["lr"] = training.rate(step)
        logits, answers = predict(model, draw_batch(training.mixture, generator))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield step


def train_base(seed: int) -> tuple[LlamaForCausalLM, dict[str, Any]]:
    """Train a base and return it in its state nearest to the wanted score.

    Returns:
        The model; and the steps to that state, its score on the target, and all scores on the way.
    """
    generator = make_generator(seed, "base")
    model = create_model(generator)
    looks: dict[int, float] = {}
    kept, state = 0, model.state_dict()
    for step in train_model(model, BASE, generator):
        if step < FIRST_LOOK or step % LOOK_EVERY:
            continue
        looks[step] = measure_target(model)
        if not kept or abs(looks[step] - WANTED) <= abs(looks[kept] - WANTED):
            kept, state = step, deepcopy(model.state_dict())
        if looks[step] >= ENOUGH:
            break
    model.load_state_dict(state)
    return model, {"steps": kept, "target": looks[kept], "looks": looks}


def train_family(
    folder: Path, seed: int, report: Report, *, distractors: bool = False
) -> dict[str, Any]:
    """Train a family and write it: models/, tasks/, run files, and the facts last of all.

    Of a base that scores too much or too little on the target, only the facts are written.

    Args:
        folder: made if missing.
        seed: everything random derives from it.
        report: told a line for every model.
        distractors: whether specialists of something else are trained as well.

    Returns:
        The facts: `seed`, `accepted`, `base` (steps, its score on the target, all looks),
        `scores` (model -> what it can do), `cpu_seconds`.
    """
    start = time.process_time()
    base, facts = train_base(seed)
    low, high = ACCEPTED
    found = {"seed": seed, "accepted": low <= facts["target"] <= high, "base": facts}
    report(f"base: {facts['target']:.3f} on the target after {facts['steps']} steps\n")
    folder.mkdir(parents=True, exist_ok=True)
    if found["accepted"]:
        write_model(base, folder / "models" / "base", VOCABULARY)
        chosen = SPECIALISTS | (DISTRACTORS if distractors else {})
        found["scores"] = {"base": survey(base), **_specialize(folder, seed, chosen, report)}
        write_items(folder / "tasks")
        write_runs(folder)
    found["cpu_seconds"] = time.process_time() - start
    (folder / FACTS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _specialize(
    folder: Path, seed: int, trainings: Mapping[str, Training], report: Report
) -> dict[str, dict[str, float]]:
    scores = {}
    for name, training in trainings.items():
        model = load_model(folder / "models" / "base")
        for _ in train_model(model, training, make_generator(seed, name)):
            pass
        write_model(model, folder / "models" / name, VOCABULARY)
        scores[name] = survey(model)
        report(f"{name}: {measure_target(model):.3f} on the target\n")
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train; return the exit code, 1 where the base is no good."""
    parser = argparse.ArgumentParser(description="Train a family of two alphabets.")
    parser.add_argument("folder", type=Path, help="where to put models/, tasks/ and run files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--distractors", action="store_true", help="and two models of no use")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    disable_progress_bar()
    report = sys.stdout.write
    found = train_family(chosen.folder, chosen.seed, report, distractors=chosen.distractors)
    if not found["accepted"]:
        low, high = ACCEPTED
        sys.stderr.write(
            f"seed {chosen.seed} gives no family: its base scores {found['base']['target']:.3f} on "
            f"the target, and {low} to {high} is wanted. Take another seed\n"
        )
    return 0 if found["accepted"] else 1


if __name__ == "__main__":
    sys.exit(main())
