"""Writes the items that come from templates: `python -m evomerge.evaluation.suite.templates`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent / "items"
SEED = 20240319
EACH = 10
"""Items of one template."""

NAMES = ("Ada", "Ben", "Clara", "Daniel", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas")
THINGS = ("apples", "marbles", "stamps", "books", "coins", "pencils", "shells", "cards")

Problem = tuple[str, int]


def _sum(r: Random) -> Problem:
    a, b = r.randint(2, 60), r.randint(2, 40)
    return f"What is {a} + {b}?", a + b


def _difference(r: Random) -> Problem:
    a, b = r.randint(20, 90), r.randint(2, 19)
    return f"What is {a} - {b}?", a - b


def _product(r: Random) -> Problem:
    a, b = r.randint(2, 12), r.randint(2, 12)
    return f"What is {a} times {b}?", a * b


def _quotient(r: Random) -> Problem:
    a, b = r.randint(2, 12), r.randint(2, 10)
    return f"What is {a * b} divided by {b}?", a


def _buying(r: Random) -> Problem:
    name, thing, a, b = r.choice(NAMES), r.choice(THINGS), r.randint(2, 20), r.randint(2, 15)
    return (
        f"{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have now?",
        a + b,
    )


def _giving(r: Random) -> Problem:
    name, other = r.sample(NAMES, 2)
    thing, a, b = r.choice(THINGS), r.randint(10, 30), r.randint(2, 9)
    return f"{name} has {a} {thing} and gives {b} of them to {other}. How many are left?", a - b


def _boxes(r: Random) -> Problem:
    thing, a, b = r.choice(THINGS), r.randint(2, 9), r.randint(2, 9)
    return f"There are {a} boxes with {b} {thing} in each. How many {thing} are there?", a * b


def _sharing(r: Random) -> Problem:
    thing, a, b = r.choice(THINGS), r.randint(2, 9), r.randint(2, 6)
    return f"{b} children share {a * b} {thing} equally. How many {thing} does each get?", a


def _change(r: Random) -> Problem:
    name, price, count = r.choice(NAMES), r.randint(2, 6), r.randint(2, 3)
    question = (
        f"A ticket costs {price} dollars. {name} buys {count} tickets and pays with 20 dollars."
    )
    return f"{question} How many dollars does {name} get back?", 20 - price * count


def _ages(r: Random) -> Problem:
    name, other = r.sample(NAMES, 2)
    a, b, c = r.randint(6, 12), r.randint(2, 5), r.randint(2, 9)
    question = f"{name} is {a} years old. {other} is {b} years older."
    return f"{question} How old will {other} be in {c} years?", a + b + c


def _distance(r: Random) -> Problem:
    speed, hours = r.choice((20, 30, 40, 50, 60, 80)), r.randint(2, 5)
    return f"A train goes {speed} kilometres an hour. How far does it go in {hours} hours?", (
        speed * hours
    )


def _rows(r: Random) -> Problem:
    a, b, c = r.randint(3, 9), r.randint(3, 9), r.randint(2, 8)
    question = f"A hall has {a} rows of {b} chairs, and {c} chairs are broken."
    return f"{question} How many chairs can be used?", a * b - c


PROBLEMS: tuple[Callable[[Random], Problem], ...] = (
    *(_sum, _difference, _product, _quotient, _buying, _giving, _boxes, _sharing, _change, _ages),
    *(_distance, _rows),
)

SUBJECTS = {
    "the sea": "waves",
    "a winter morning": "snow",
    "a market": "fruit",
    "a long train journey": "window",
    "a grandmother's kitchen": "bread",
    "a lost dog": "street",
    "the first day at school": "teacher",
    "a garden in spring": "flowers",
    "a thunderstorm": "lightning",
    "a football match": "goal",
    "an old library": "books",
    "a birthday": "cake",
    "a mountain hut": "fire",
    "a big city at night": "lights",
    "a visit to the doctor": "waiting",
}
"""What is written about, and a word that must occur."""

SOUND = {"varied": 0.7, "plain": 0.9}
"""What every piece of writing should be."""

WHOLE = {"closes": True}
"""What prose should be besides."""


def write_mathematics() -> Iterator[dict[str, Any]]:
    """Yield problems {question, answer}, none of them twice."""
    random = Random(SEED)
    for make in PROBLEMS:
        problems: dict[str, int] = {}
        while len(problems) < EACH:
            problems.update([make(random)])
        yield from ({"question": asked, "answer": answer} for asked, answer in problems.items())


def write_writing() -> Iterator[dict[str, Any]]:
    """Yield tasks {prompt, rules}: every subject in six kinds of order."""
    for subject, word in SUBJECTS.items():
        for order, rules in _orders(subject, word):
            sound = {
                rule: value
                for rule, value in SOUND.items()
                if "bullets" not in rules or rule != "closes"
            }
            yield {"prompt": f"Instruction: {order}\n\nText:", "rules": rules | sound}


def _orders(subject: str, word: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield (
        f'Write two or three sentences about {subject}. Use the word "{word}".',
        {"sentences": [2, 3], "words": [12, 80], "mentions": [word]} | WHOLE,
    )
    yield (
        f"Write one sentence of at least ten words about {subject}.",
        {"sentences": [1, 1], "words": [10, 60]} | WHOLE,
    )
    yield (
        f'Describe {subject} without using the word "{word}".',
        {"words": [15, 80], "avoids": [word]} | WHOLE,
    )
    yield (
        f'Write a short story about {subject} that begins with the words "Last year".',
        {"words": [20, 80], "begins": "Last year"} | WHOLE,
    )
    yield (
        f'Describe {subject} in a few sentences. Use the words "today" and "because".',
        {"words": [15, 80], "mentions": ["today", "because"]} | WHOLE,
    )
    yield (
        f'List three things that belong to {subject}, each on a line that begins with "-".',
        {"words": [3, 60], "bullets": 3},
    )


def main() -> None:
    """Write the files."""
    for name, write in {"mathematics": write_mathematics, "writing": write_writing}.items():
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in write()]
        (FOLDER / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
