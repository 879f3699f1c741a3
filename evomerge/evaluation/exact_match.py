"""Exact match: greedy generation equals the target, or its last matching part does."""

import re
from collections.abc import Sequence
from typing import ClassVar

from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.chat import Wanted, templated
from evomerge.evaluation.language import THRESHOLD, LanguageGate
from evomerge.records import Item
from evomerge.types import LanguageModel


class ExactMatch(Evaluator):
    """1 where the generated answer equals the target (or one of several), else 0.

    Items have `prompt` and `target` (a text or a list of texts). White space around the answer
    does not count.

    Args:
        max_new_tokens: where generation stops at the latest.
        stop: strings before which the answer ends.
        pattern: regular expression; the answer is its last match (its first group, if it has
            one), as in "the last number".
        ignore_case: whether case does not count.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one.
        language: the language that answers must be in (ISO 639 code for `fasttext`); any if
            absent.
        detector: what tells it: `fasttext` (needs the extra `language`), or `alphabet:A-P` (the
            share of such letters).
        threshold: the certainty an answer must be above.
    """

    fields: ClassVar[tuple[str, ...]] = ("prompt", "target")
    texts: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(
        self,
        max_new_tokens: int = 32,
        stop: str | Sequence[str] = (),
        pattern: str | None = None,
        ignore_case: bool = False,
        apply_chat_template: Wanted = False,
        language: str | None = None,
        detector: str = "fasttext",
        threshold: float = THRESHOLD,
    ) -> None:
        if type(max_new_tokens) is not int or max_new_tokens < 1:
            raise ValueError("max_new_tokens must be a whole number of at least 1")
        self.max_new_tokens = max_new_tokens
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(word, str) and word for word in self.stop):
            raise ValueError("stop must be a text or a list of texts, none of them empty")
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ValueError(f"pattern is not a regular expression: {error}") from None
        self.ignore_case = ignore_case
        self.apply_chat_template: Wanted = apply_chat_template
        self.gate = LanguageGate(language, detector, threshold)

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        prompts = [item.fields["prompt"] for item in items]
        subject = templated(subject, self.apply_chat_template)
        answers = subject.generate(prompts, max_new_tokens=self.max_new_tokens, stop=self.stop)
        return [self._grade(a, i.fields["target"]) for a, i in zip(answers, items, strict=True)]

    def _grade(self, answer: str, target: str | Sequence[str]) -> float:
        targets = [target] if isinstance(target, (str, int, float)) else target
        found = self._fold(self._extract(answer))
        admitted = self.gate.admits(answer, self.audit)
        return float(admitted and any(found == self._fold(str(text)) for text in targets))

    def _extract(self, answer: str) -> str:
        if self.pattern is None:
            return answer
        matches = list(self.pattern.finditer(answer))
        self.audit.note_extraction(bool(matches))
        found = matches[-1].group(1 if self.pattern.groups else 0) if matches else ""
        return found or ""  # a group that takes no part in a match is None

    def _fold(self, text: str) -> str:
        return text.strip().casefold() if self.ignore_case else text.strip()
