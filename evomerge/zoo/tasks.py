"""The four tasks of the zoo: their rules, the inputs held out from training, their items.

Every task rewrites a word of three to seven letters. About one input in ten is held out by a fixed
hash; the models are never trained on those, and the items are drawn from those alone.
"""

import json
import random
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
SHORTEST: Final = 3
LONGEST: Final = 6
SPLITS: Final = ("search", "validation", "test")
ITEMS_PER_SPLIT: Final = 300
DEFAULT_SEED: Final = 0
HELD_OUT_ONE_IN: Final = 10


@dataclass(frozen=True)
class Item:
    """One question with its only right answer.

    Attributes:
        split: one of `SPLITS`.
        prompt: what the model reads, `"r abcd="`.
        target: what it must write before it stops, `"dcba"`.
    """

    split: str
    prompt: str
    target: str


def reverse(word: str) -> str:
    """Write the letters from last to first: abcd -> dcba."""
    return word[::-1]


def sort(word: str) -> str:
    """Write the letters in alphabetical order: dbca -> abcd."""
    return "".join(sorted(word))


def successor(word: str) -> str:
    """Write for each letter the one after it, a after z: abz -> bca."""
    return word.translate(str.maketrans(LETTERS, LETTERS[1:] + LETTERS[0]))


def duplicate(word: str) -> str:
    """Write each letter twice: abc -> aabbcc."""
    return "".join(letter * 2 for letter in word)


RULES: Final[dict[str, Callable[[str], str]]] = {
    "reverse": reverse,
    "sort": sort,
    "successor": successor,
    "duplicate": duplicate,
}
PREFIXES: Final = {"reverse": "r", "sort": "s", "successor": "n", "duplicate": "d"}


def write_prompt(task: str, word: str) -> str:
    """Put a word as a question of `task`: `"r abcd="`."""
    return f"{PREFIXES[task]} {word}="


def is_held_out(task: str, word: str) -> bool:
    """Tell whether this input is kept away from training (about one in ten, by a fixed hash)."""
    return zlib.crc32(f"{task}:{word}".encode()) % HELD_OUT_ONE_IN == 0


def draw_word(generator: random.Random) -> str:
    """Draw a length, then the letters, each uniformly.

    Only `random()` is called: it alone is promised to give the same numbers in every Python.
    """
    length = SHORTEST + int(generator.random() * (LONGEST - SHORTEST + 1))
    return "".join(LETTERS[int(generator.random() * len(LETTERS))] for _ in range(length))


def draw_input(task: str, generator: random.Random, held_out: bool) -> str:
    """Draw words until one lies on the wanted side of the held-out rule."""
    word = draw_word(generator)
    while is_held_out(task, word) is not held_out:
        word = draw_word(generator)
    return word


def generate_items(task: str, seed: int = DEFAULT_SEED) -> list[Item]:
    """Generate the items of one task: `ITEMS_PER_SPLIT` for each of `SPLITS`, no input twice."""
    generator = random.Random(f"{seed}:{task}")
    words: dict[str, None] = {}
    while len(words) < ITEMS_PER_SPLIT * len(SPLITS):
        words[draw_input(task, generator, held_out=True)] = None
    return [
        Item(SPLITS[index // ITEMS_PER_SPLIT], write_prompt(task, word), RULES[task](word))
        for index, word in enumerate(words)
    ]


def write_items(folder: Path, seed: int = DEFAULT_SEED) -> None:
    """Write `<task>.jsonl` for each task into `folder`, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in RULES:
        lines = [json.dumps(asdict(item)) + "\n" for item in generate_items(task, seed)]
        (folder / f"{task}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def read_items(file: Path, split: str) -> list[Item]:
    """Read the items of one split from a file that `write_items` wrote."""
    lines = file.read_text(encoding="utf-8").splitlines()
    items = [Item(**json.loads(line)) for line in lines]
    return [item for item in items if item.split == split]
