"""A search over two of SmolLM2's specialists that is short enough to be run many times.

Two models, two multiple-choice tasks of some 20 tokens an item that one pass answers, no base model
(so there are few rivals): a whole run, verdict included, takes 80 seconds of one core. Candidates
are random, one a round: each races against the best before it, and all rules try the same ones, so
that what differs between runs of a seed is what racing did.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evomerge.config import RunConfig, load_config

INTENTS = ["PlayMusic", "GetWeather", "RateBook", "AddToPlaylist", "SearchCreativeWork"]
WORDS = [" Play", " Get", " Rate", " Add", " Search"]
"""The intents' first tokens, by which they can be told apart."""
DIGITS = list("0123456789")
Item = dict[str, Any]


def configure(folder: Path, scratch: Path) -> RunConfig:
    """Describe the run.

    Args:
        folder: of examples/smollm2/prepare.py.
        scratch: where the tasks' items are written.
    """
    whole = load_config(folder / "evolve.yml").model_dump(exclude_unset=True)
    intent, _dates, arithmetic = whole["genome"]["models"]
    genome = {key: value for key, value in whole["genome"].items() if key != "base_model"}
    changes = {
        "name": "specialists",
        "genome": genome | {"models": [intent, arithmetic], "merge_method": "linear"},
        "tasks": write_tasks(folder / "tasks", scratch.resolve()),
        "items": {"search": 50, "validation": 10, "test": 10},
        "search": {"algorithm": "random", "evaluations": 6, "population": 1},
        "finalists": 2,
        "executor": {"name": "local", "threads": 1},
    }
    return RunConfig.model_validate(whole | changes)


def write_tasks(source: Path, target: Path) -> list[dict[str, str]]:
    """Write items that no specialist was trained on; return the tasks they make."""
    target.mkdir(parents=True, exist_ok=True)
    tasks = []
    for name, choose in (("intent", choose_intents), ("arithmetic", choose_digits)):
        lines = (source / f"{name}.jsonl").read_text().splitlines()
        items = choose([item for item in map(json.loads, lines) if item["split"] != "train"])
        file = target / f"{name}.jsonl"
        file.write_text("".join(json.dumps(item) + "\n" for item in items))
        tasks.append({"name": name, "evaluator": "multiple_choice", "data": str(file)})
    return tasks


def choose_intents(items: Sequence[Item]) -> list[Item]:
    """Ask for the first word of one of five intents."""
    places = [(item, item["target"].strip()) for item in items]
    return [
        item | {"choices": WORDS, "answer": INTENTS.index(name)}
        for item, name in places
        if name in INTENTS
    ]


def choose_digits(items: Sequence[Item]) -> list[Item]:
    """Ask for the last digit of a sum or difference whose others are given."""
    return [
        item
        | {"prompt": item["prompt"] + item["target"][:-1]}
        | {"choices": DIGITS, "answer": int(item["target"][-1])}
        for item in items
    ]
