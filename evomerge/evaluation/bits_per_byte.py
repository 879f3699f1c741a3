"""Bits per byte: how well a model predicts text, whatever its vocabulary. Lower is better."""

import math
from collections.abc import Sequence
from typing import ClassVar

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.records import Item
from evomerge.types import LanguageModel


class BitsPerByte(Evaluator):
    """-log2 p(text | prompt) divided by the UTF-8 length of the text.

    Items have `text`, and may have a `prompt` it continues. Blanks at the prompt's end count as
    part of the text: that is how the two fall into tokens.
    """

    higher_is_better = False
    fields: ClassVar[tuple[str, ...]] = ("text",)
    texts: ClassVar[tuple[str, ...]] = ("text", "prompt")

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check fields, and that no text is empty: it would have no bits at all."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            if not item.fields["text"]:
                raise EvaluationError(
                    f"task {task}: item {number} has an empty 'text'", "Leave such items out"
                )

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        requests = [(i.fields.get("prompt") or "", i.fields["text"]) for i in items]
        nats = subject.score(requests)
        blanks = [prompt[len(prompt.rstrip()) :] for prompt, _ in requests]  # scored with the text
        lengths = [len((b + t).encode()) for b, (_, t) in zip(blanks, requests, strict=True)]
        return [-value / math.log(2) / n for value, n in zip(nats, lengths, strict=True)]
