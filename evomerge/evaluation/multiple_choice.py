"""Multiple choice: the choice with the highest log-likelihood is the model's answer."""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.records import Item
from evomerge.types import LanguageModel


class MultipleChoice(Evaluator):
    """1 where the likeliest choice is the right one, else 0.

    Items have `prompt`, `choices` (texts that continue it) and `answer` (index of the right one).

    Args:
        normalization: divide log-likelihoods by nothing, or by the choice's length in bytes
            (lm-evaluation-harness' acc_norm).
    """

    fields: ClassVar[tuple[str, ...]] = ("prompt", "choices", "answer")
    texts: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(self, normalization: Literal["none", "bytes"] = "none") -> None:
        if normalization not in ("none", "bytes"):
            raise ValueError(f"normalization must be 'none' or 'bytes', not {normalization!r}")
        self.normalization = normalization

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check fields, and that every answer is the index of a choice."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            answer, choices = item.fields["answer"], item.fields["choices"]
            if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
                raise EvaluationError(
                    f"task {task}: item {number} has choices that are no list of texts",
                    "`choices` are the texts that may continue the prompt",
                )
            if type(answer) is not int or not 0 <= answer < len(choices):
                raise EvaluationError(
                    f"task {task}: item {number} has answer {answer!r} for {len(choices)} choices",
                    "`answer` is the index of the right choice, from 0",
                )

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        requests = [(i.fields["prompt"], choice) for i in items for choice in i.fields["choices"]]
        likelihoods = iter(subject.score(requests))
        return [self._answer(item, likelihoods) for item in items]

    def _answer(self, item: Item, likelihoods: Iterator[float]) -> float:
        values = []
        for choice in item.fields["choices"]:
            length = len(choice.encode()) if self.normalization == "bytes" else 1
            values.append(next(likelihoods) / max(length, 1))
        if any(math.isnan(value) for value in values):
            return math.nan  # a broken model gives no answer, not the first choice
        return float(values.index(max(values)) == item.fields["answer"])
