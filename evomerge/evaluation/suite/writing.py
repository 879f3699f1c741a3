"""Writing, graded by rules a program can check (after IFEval, Zhou et al., 2023).

https://arxiv.org/abs/2311.07911. The rules say nothing about beauty. They tell a model that
writes sentences about what it was asked from one that repeats itself, breaks off or drifts away.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.chat import Wanted, templated
from evomerge.records import Item
from evomerge.registry import suggest
from evomerge.types import LanguageModel

FEWEST = 3
"""An answer of fewer words breaks all rules."""


class Writing(Evaluator):
    """The share of an answer's rules that it keeps, 0 to 1; 0 for fewer than three words.

    Items have `prompt` and `rules`, rule to value:

    - `words: [fewest, most]` and `sentences: [fewest, most]`: how long it is;
    - `mentions: [...]` and `avoids: [...]`: words that occur, or do not, in any form of case;
    - `begins: text`: how it begins; `closes: true`: it ends with a sentence's full stop, question
      mark, exclamation mark or the like;
    - `bullets: n`: exactly so many lines begin with `-`, `*` or `•`;
    - `varied: share`: at least that share of its pairs of words are different (distinct-2, Li et
      al., 2016, https://arxiv.org/abs/1510.03055);
    - `plain: share`: at least that share of its characters are letters, digits, blanks or usual
      punctuation.

    Args:
        max_new_tokens: where an answer ends at the latest.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one.
    """

    fields: ClassVar[tuple[str, ...]] = ("prompt", "rules")
    texts: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(self, max_new_tokens: int = 96, apply_chat_template: Wanted = False) -> None:
        self.max_new_tokens = max_new_tokens
        self.apply_chat_template: Wanted = apply_chat_template

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check fields, and that every rule is known and can be applied."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            rules = item.fields["rules"]
            if not isinstance(rules, Mapping) or not rules:
                raise EvaluationError(
                    f"task {task}: item {number} has no rules", "`rules` are rule to value"
                )
            for rule, value in rules.items():
                _try_rule(task, number, rule, value)

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        prompts = [item.fields["prompt"] for item in items]
        subject = templated(subject, self.apply_chat_template)
        answers = subject.generate(prompts, max_new_tokens=self.max_new_tokens)
        return [grade(a, i.fields["rules"]) for a, i in zip(answers, items, strict=True)]


def grade(answer: str, rules: Mapping[str, Any]) -> float:
    """Return the share of rules that an answer keeps, 0 to 1; its first paragraph counts."""
    text = answer.strip().partition("\n\n")[0].strip()
    if len(_words(text)) < FEWEST:
        return 0.0
    return sum(RULES[rule](text, value) for rule, value in rules.items()) / len(rules)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’-]\w+)*", text.casefold())  # noqa: RUF001 - the typographic one


def _sentences(text: str) -> int:
    return len(re.findall(r"[.!?。！？]+(?=\s|$|[\"”')])", text))  # noqa: RUF001 - full-width ones


def _within(count: int, bounds: Sequence[int]) -> bool:
    fewest, most = bounds
    return fewest <= count <= most


def _occurs(text: str, phrase: str) -> bool:
    return f" {' '.join(_words(phrase))} " in f" {' '.join(_words(text))} "


def _bullets(text: str) -> int:
    return len(re.findall(r"^\s*[-*•]\s*\S", text, flags=re.MULTILINE))


def _is_varied(text: str, share: float) -> bool:
    words = _words(text)
    pairs = list(pairwise(words))
    return len(set(pairs)) >= share * len(pairs)


def _is_plain(text: str, share: float) -> bool:
    usual = sum(c.isalnum() or c.isspace() or c in ".,;:!?'\"-()" for c in text)
    return usual >= share * len(text)


RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "words": lambda text, bounds: _within(len(_words(text)), bounds),
    "sentences": lambda text, bounds: _within(_sentences(text), bounds),
    "mentions": lambda text, phrases: all(_occurs(text, phrase) for phrase in phrases),
    "avoids": lambda text, phrases: not any(_occurs(text, phrase) for phrase in phrases),
    "begins": lambda text, start: text.startswith(start),
    "closes": lambda text, asked: bool(re.search(r"[.!?。！？][\"”')]*$", text)) is asked,  # noqa: RUF001 - full-width ones
    "bullets": lambda text, count: _bullets(text) == count,
    "varied": _is_varied,
    "plain": _is_plain,
}


def _try_rule(task: str, number: int, rule: str, value: Any) -> None:
    if rule not in RULES:
        raise EvaluationError(
            f"task {task}: item {number} has an unknown rule {rule!r}{suggest(rule, list(RULES))}",
            f"Rules are {', '.join(RULES)}",
        )
    try:
        RULES[rule]("One, two, three.", value)
    except (TypeError, ValueError, AttributeError):
        raise EvaluationError(
            f"task {task}: item {number} has a rule {rule!r} with the value {value!r}",
            "See the evaluator's table of rules",
        ) from None
