"""What a language model is asked in a search, and how its answer is read.

After Lange et al. (2024), https://arxiv.org/abs/2402.18381: integers instead of decimals, worst to
best, and a fitness to aim at.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.types import Message, Reply

LONGEST_QUOTE = 400
"""Characters of a bad answer that the model is reminded of."""
LISTS = re.compile(r"\[[^\[\]]*\]")
LINES = re.compile(r"^(?:([^:\n]*): )?(\[\d+(?:, \d+)*\])$", re.MULTILINE)

Line = tuple[str, list[int]]
"""How a point fared, empty where that is hidden; and its coordinates."""


@dataclass(frozen=True)
class Question:
    """Around which point should the next ones be drawn?

    Attributes:
        generations: what is shown of each, from worst to best.
        tops: the greatest value of every coordinate; the least is 0.
        target: the fitness to aim at; empty where fitness is hidden.
        choices: which coordinates (from 1) are choices, whose order says nothing.
    """

    generations: Sequence[Sequence[Line]]
    tops: Sequence[int]
    target: str
    choices: Sequence[int] = ()

    def put(self) -> list[Message]:
        """Return the question as a conversation: its last line is to be completed."""
        shown = [
            "\n".join(_write(fitness, point) for fitness, point in lines)
            for lines in self.generations
        ]
        content = "\n\n".join([self._introduce(), *shown, _write(self.target)])
        return [{"role": "user", "content": content.rstrip()}]

    def object(self, answer: str, why: str) -> list[Message]:
        """Return the turns that tell the model what is wrong with its answer."""
        told = f"That cannot be used: {why}. Answer with {self._form()}, and nothing else."
        return [
            {"role": "assistant", "content": answer[:LONGEST_QUOTE]},
            {"role": "user", "content": told},
        ]

    def read(self, answer: str) -> list[int]:
        """Return the integers of an answer: those of its last list.

        Raises:
            ValueError: there is none, or it is not what was asked for.
        """
        lists = LISTS.findall(answer)
        if not lists:
            raise ValueError("it holds no list in brackets")
        try:
            found = json.loads(lists[-1])
        except ValueError:
            raise ValueError("its list is no JSON") from None
        if not all(type(value) is int for value in found):
            raise ValueError("its list does not hold integers only")
        if len(found) != len(self.tops):
            raise ValueError(f"its list holds {len(found)} integers, not {len(self.tops)}")
        for place, (value, top) in enumerate(zip(found, self.tops, strict=True), start=1):
            if not 0 <= value <= top:
                raise ValueError(f"integer {place} is {value}, not from 0 to {top}")
        return list(found)

    def _introduce(self) -> str:
        """Say what is searched for, how points are written, and what is to be answered."""
        if self.target:
            parts = [
                "You steer an evolutionary search for the point with the highest fitness. Each "
                f"line is a fitness and a point, {self._form()}; generations are divided by empty "
                "lines and stand from worst to best, as their points do. Complete the last line "
                "with the point around which the next generation should be drawn."
            ]
        else:
            parts = [
                f"You steer an evolutionary search. Each line is a point, {self._form()}; "
                "generations are divided by empty lines. Write the point around which the next "
                "generation should be drawn."
            ]
        if self.choices:
            named = ", ".join(map(str, self.choices))
            parts.append(f"Integers number {named} stand for choices, whose order says nothing.")
        return " ".join([*parts, "Answer with its list only."])

    def _span(self) -> str:
        if len(set(self.tops)) == 1:
            return f"from 0 to {self.tops[0]}"
        return f"from 0 to at most {', '.join(map(str, self.tops))} in this order"

    def _form(self) -> str:
        size = len(self.tops)
        return f"a list of {size} integer{'s' * (size > 1)} {self._span()}"


def _write(fitness: str, point: Sequence[int] | None = None) -> str:
    """Return a line of the history, or its beginning."""
    written = "" if point is None else str(list(point))
    return f"{fitness}: {written}" if fitness else written


def answer_fittest(messages: Sequence[Message]) -> Reply:
    """Answer with the fittest point of a question, or the last one where fitness is hidden."""
    lines = LINES.findall(messages[0]["content"])
    _, point = max(reversed(lines), key=lambda line: _read_fitness(line[0]))
    return point, {"model": "mock"}


def _read_fitness(word: str) -> float:
    try:
        return float(word)
    except ValueError:  # hidden, or a word where there is no full score
        return -math.inf
