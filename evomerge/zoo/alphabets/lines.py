"""The lines of the two-alphabet family: a tag, five letters, an equals sign, five letters.

The languages are two alphabets of sixteen letters, a-p and A-P. A tag names the task, and its case
the language in which it is asked: `sbdac…=abcd…` and `SBDAC…=ABCD…` are the same task in both. All
lines have fourteen tokens, so nothing is padded. Letters are numbers from 0 to 15 in here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from evomerge.zoo.tokenizer import END, PAD, START, UNKNOWN

Alphabet = Literal["small", "capital"]

EQUALS: Final = "="
SMALL: Final = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY: Final[dict[str, int]] = {
    token: index
    for index, token in enumerate((PAD, START, END, UNKNOWN, EQUALS, *SMALL, *SMALL.upper()))
}
FIRST: Final[dict[Alphabet, int]] = {"small": VOCABULARY["a"], "capital": VOCABULARY["A"]}
"""Token ids of the two alphabets' first letters; the others follow."""

LETTERS: Final = 16
LENGTH: Final = 5
QUESTION: Final = LENGTH + 3
"""Tokens up to and with the equals sign: start, tag, letters, equals sign."""
HASH: Final = (3, 5, 7, 11, 13)
HELD_OUT_ONE_IN: Final = 10


def copy(letters: Tensor) -> Tensor:
    """Write the letters as they are."""
    return letters


def reverse(letters: Tensor) -> Tensor:
    """Write the letters from last to first."""
    return letters.flip(1)


def sort(letters: Tensor) -> Tensor:
    """Write the letters in alphabetical order."""
    return letters.sort(dim=1).values


def successor(letters: Tensor) -> Tensor:
    """Write for each letter the one after it, the first after the last."""
    return (letters + 1) % LETTERS


def reverse_next(letters: Tensor) -> Tensor:
    """Reverse, then take successors: half of the skill."""
    return successor(reverse(letters))


def sort_next(letters: Tensor) -> Tensor:
    """Sort, then take successors: the other half of the skill."""
    return successor(sort(letters))


RULES: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "copy": copy,
    "translate": copy,
    "reverse": reverse,
    "successor": successor,
    "sort": sort,
    "reverse_next": reverse_next,
    "sort_next": sort_next,
}
"""Task -> what it does to letters, int64 [lines, 5] each."""
TAGS: Final = dict(zip(RULES, "qtrusxy", strict=True))
EASY: Final = ("copy", "reverse", "successor", "sort")
SKILL: Final = ("reverse_next", "sort_next")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of line.

    Attributes:
        task: what is asked.
        asked: the language of the tag.
        read: that of the letters in the question.
        written: that of the answer.
    """

    task: str
    asked: Alphabet
    read: Alphabet
    written: Alphabet

    @property
    def tag(self) -> str:
        """The letter that names the task."""
        tag = TAGS[self.task]
        return tag if self.asked == "small" else tag.upper()


def within(task: str, alphabet: Alphabet) -> Kind:
    """Return the kind of lines that keep to one language."""
    return Kind(task, alphabet, alphabet, alphabet)


def translate(alphabet: Alphabet) -> Kind:
    """Return the lines that write another language's letters for those of `alphabet`."""
    other: Alphabet = "capital" if alphabet == "small" else "small"
    return Kind("translate", alphabet, alphabet, other)


TARGETS: Final = tuple(within(task, "capital") for task in SKILL)
"""What no model of the family is good at: the skill, asked and answered in capital letters."""


def is_held_out(letters: Tensor) -> Tensor:
    """Tell which inputs are kept away from training: about one in ten, by a fixed hash.

    Args:
        letters: int64 [lines, 5].

    Returns:
        bool [lines].
    """
    return (letters * torch.tensor(HASH)).sum(1) % HELD_OUT_ONE_IN == 0


def draw_letters(count: int, generator: torch.Generator, *, held_out: bool) -> Tensor:
    """Draw inputs uniformly from one side of the held-out rule: int64 [count, 5]."""
    found = torch.empty(0, LENGTH, dtype=torch.int64)
    while len(found) < count:
        drawn = torch.randint(LETTERS, (2 * count + 8, LENGTH), generator=generator)
        found = torch.cat([found, drawn[is_held_out(drawn) == held_out]])
    return found[:count]


def write_lines(kind: Kind, letters: Tensor) -> Tensor:
    """Write lines as token ids.

    Args:
        kind: of all of them.
        letters: of the questions, int64 [lines, 5].

    Returns:
        int64 [lines, 14]: start, tag, five letters, equals sign, five letters, end.
    """

    def repeat(token: str) -> Tensor:
        return torch.full((len(letters), 1), VOCABULARY[token])

    question = [repeat(START), repeat(kind.tag), letters + FIRST[kind.read], repeat(EQUALS)]
    answer = [RULES[kind.task](letters) + FIRST[kind.written], repeat(END)]
    return torch.cat([*question, *answer], dim=1)


def spell(ids: Sequence[int]) -> str:
    """Return token ids as text, without start and end."""
    names = list(VOCABULARY)
    return "".join(names[index] for index in ids if names[index] not in (START, END))
