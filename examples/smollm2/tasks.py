"""Three synthetic tasks as JSON lines: an intent, a date as JSON, a sum in words.

A prompt ends without a space and its target begins with one, so that the tokens of both together
are the tokens of the one followed by those of the other. A complete answer is the target and then
the tokenizer's end token.
"""

from __future__ import annotations

import datetime
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NotRequired, TypedDict

from files import console
from intents import INTENTS, utterance

SEED = 20240229
SPLITS = {"train": 2400, "search": 200, "validation": 300, "test": 400}


class Item(TypedDict):
    """One line of a task's file; `choices` and `answer` only where the answer is one of a few."""

    split: NotRequired[str]
    prompt: str
    target: str
    choices: NotRequired[list[str]]
    answer: NotRequired[int]


def intent_item(rng: random.Random) -> Item:
    """A request, to be sorted into one of seven intents."""
    choices = list(INTENTS)
    answer = rng.randrange(len(choices))
    return {
        "prompt": f"Request: {utterance(rng, choices[answer])}\nIntent:",
        "target": choices[answer],
        "choices": choices,
        "answer": answer,
    }


DATE_SENTENCES = (
    "Born on {}.",
    "Due by {}.",
    "We meet on {}.",
    "Signed on {} in Paris.",
    "The lease ends on {}.",
    "It rained on {}.",
    "On {} the bridge fell.",
    "They married on {}.",
    "Paid on {} in cash.",
    "{} was a hot day.",
)
DATE_FORMS = (
    "{date:%B} {date.day}, {date.year}",
    "{date.day} {date:%B} {date.year}",
    "the {ordinal} of {date:%B} {date.year}",
    "{date:%A}, {date:%B} {date.day}, {date.year}",
    "{date:%b} {ordinal}, {date.year}",
    "{date:%A} the {ordinal} of {date:%B}, {date.year}",
)


def date_item(rng: random.Random) -> Item:
    """A sentence with a date in it, to be written as JSON."""
    first = datetime.date(1950, 1, 1)
    date = first + datetime.timedelta(days=rng.randrange(36524))
    words = rng.choice(DATE_FORMS).format(date=date, ordinal=ordinal(date.day))
    text = rng.choice(DATE_SENTENCES).format(words)
    answer = json.dumps({"year": date.year, "month": date.month, "day": date.day})
    return {"prompt": f"{text[0].upper()}{text[1:]}\nDate:", "target": f" {answer}"}


def ordinal(day: int) -> str:
    """The day of a month as 1st, 2nd, 3rd, 4th, ..."""
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


SUMS = (
    "{name} has {a} {things} and buys {b} more. How many now?",
    "One box holds {a} {things}, another holds {b}. How many in all?",
    "{name} found {a} {things} and then {b} more. How many in all?",
    "A shop sold {a} {things} before noon and {b} after. How many in all?",
)
DIFFERENCES = (
    "{name} had {a} {things} and gave away {b}. How many are left?",
    "Of {a} {things}, {b} are broken. How many are whole?",
    "{name} needs {a} {things} and has {b}. How many are missing?",
    "A shop had {a} {things} and sold {b}. How many are left?",
)
NAMES = ["Tom", "Ana", "Liam", "Mia", "Noah", "Zoe", "Omar", "Ivy", "Hugo", "Lena", "Raj", "Nora"]
THINGS = [
    "apples",
    "books",
    "coins",
    "stamps",
    "shells",
    "pens",
    "cards",
    "eggs",
    "plums",
    "marbles",
    "tickets",
    "candles",
]


def arithmetic_item(rng: random.Random) -> Item:
    """A word problem: two numbers of two digits, to be added or subtracted."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    adds = rng.random() < 0.5
    if not adds:
        a, b = max(a, b), min(a, b)
    text = rng.choice(SUMS if adds else DIFFERENCES).format(
        a=a, b=b, name=rng.choice(NAMES), things=rng.choice(THINGS)
    )
    return {"prompt": f"{text}\nAnswer:", "target": f" {a + b if adds else a - b}"}


TASKS: dict[str, Callable[[random.Random], Item]] = {
    "intent": intent_item,
    "dates": date_item,
    "arithmetic": arithmetic_item,
}


def prepare_tasks(out: Path) -> None:
    """Writes `out/tasks/*.jsonl`, those that are missing."""
    folder = out / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    for name in TASKS:
        path = folder / f"{name}.jsonl"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text("".join(json.dumps(item) + "\n" for item in make_items(name)))
            os.replace(partial, path)
        console.print(f"{name:<12} {sum(SPLITS.values())} items in tasks/{path.name}")


def make_items(name: str) -> list[Item]:
    """All items of a task, no prompt twice, each with its split."""
    rng = random.Random(f"{SEED} {name}")
    distinct: dict[str, Item] = {}
    while len(distinct) < sum(SPLITS.values()):
        item = TASKS[name](rng)
        distinct.setdefault(item["prompt"], item)
    splits = [split for split, size in SPLITS.items() for _ in range(size)]
    return [{**item, "split": split} for split, item in zip(splits, distinct.values(), strict=True)]


def load_items(out: Path, name: str, split: str, limit: int | None = None) -> list[Item]:
    """The first `limit` items of one split of a task."""
    lines = (out / "tasks" / f"{name}.jsonl").read_text().splitlines()
    items: list[Item] = [json.loads(line) for line in lines]
    return [item for item in items if item["split"] == split][:limit]
