"""Bits per byte: how well a model predicts text, whatever its vocabulary. Lower is better."""

import math
from collections.abc import Sequence
from typing import ClassVar

from evomerge.evaluation.base import Evaluator
from evomerge.records import Item
from evomerge.types import LanguageModel


class BitsPerByte(Evaluator):
    """-log2 p(text | prompt) divided by the UTF-8 length of the text.

    Items have `text`, and may have a `prompt` it continues.
    """

    higher_is_better = False
    fields: ClassVar[tuple[str, ...]] = ("text",)

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        requests = [(i.fields.get("prompt", ""), i.fields["text"]) for i in items]
        nats = subject.score(requests)
        lengths = [max(len(text.encode()), 1) for _, text in requests]
        return [-value / math.log(2) / n for value, n in zip(nats, lengths, strict=True)]
