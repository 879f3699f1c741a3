"""MGSM (Shi et al., 2022), asked and graded as in evolutionary model merging (Akiba et al., 2024).

https://arxiv.org/abs/2210.03057, https://arxiv.org/abs/2403.13187: zero-shot, greedy, one answer a
question; right when the last number of the answer is, *and* the answer is in the wanted language.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.chat import Wanted, templated
from evomerge.evaluation.language import THRESHOLD, LanguageGate
from evomerge.evaluation.numerals import PATTERNS, Notation, find_last_number, notation_of
from evomerge.records import Item
from evomerge.registry import suggest
from evomerge.types import LanguageModel

QUESTION = "{question}"
TEMPLATES = {
    "ja-alpaca-cot": (
        "以下に、あるタスクを説明する指示があります。リクエストを適切に完了するための回答を"
        "日本語で記述してください。一歩一歩考えましょう。\n\n"
        "### 指示:\n{question}\n\n### 応答:"
    ),
    "plain": QUESTION,
}
"""How a question is put. The first is the paper's: an instruction to answer in Japanese, step by
step, from https://github.com/SakanaAI/evolutionary-model-merge (Apache 2.0)."""

STOPS = ("Instruction:", "Instruction", "Response:", "Response")
"""Where the paper cuts answers: models tuned on instructions go on with the next one."""

RESULTS = ("answer_number", "answer")
"""Where an item says its number, the first one counts."""


class MGSM(Evaluator):
    """1 where the last number of the answer is right and the answer is in the language, else 0.

    Items have `question`, and `answer_number` or `answer` (a number, or a text whose last number
    is meant, as in GSM8K). `data` may be JSONL or the published form, lines of question, tab,
    number. Search with other items than MGSM's own 250: the paper used the remaining 1069 of
    GSM8K's test items, translated. A number is read as its language writes it: 1,234 and 1234.0
    are equal in Japanese, 1.234 and 1234 in German.

    Args:
        language: ISO 639 code of the language answers must be in.
        detector: what tells the language: `fasttext` (needs the extra `language`), or
            `alphabet:A-P` (the share of such letters); `none` asks for no language.
        threshold: the certainty an answer must be above.
        template: `ja-alpaca-cot` (the paper's, default for Japanese), `plain` (default for
            others), or a text with {question} in it.
        numbers: `point` (1,234.5), `comma` (1.234,5), by the language if absent; or `paper`, the
            pattern of the paper's program, which finds 234 in 1,234 and no minus.
        max_new_tokens: where an answer ends at the latest.
        stop: strings before which an answer ends.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one. What `template` makes
            of the question is the user's turn; `plain` goes best with it.
    """

    fields: ClassVar[tuple[str, ...]] = ("question",)
    texts: ClassVar[tuple[str, ...]] = ("question",)

    def __init__(
        self,
        language: str = "ja",
        detector: str = "fasttext",
        threshold: float = THRESHOLD,
        template: str | None = None,
        numbers: Notation | None = None,
        max_new_tokens: int = 1024,
        stop: str | Sequence[str] = STOPS,
        apply_chat_template: Wanted = False,
    ) -> None:
        if type(max_new_tokens) is not int or max_new_tokens < 1:
            raise ValueError("max_new_tokens must be a whole number of at least 1")
        if numbers is not None and numbers not in PATTERNS:
            raise ValueError(f"numbers must be one of {', '.join(PATTERNS)}, not {numbers!r}")
        self.language = language
        self.template = _find_template(template, language)
        self.numbers: Notation = numbers or notation_of(language)
        self.max_new_tokens = max_new_tokens
        self.apply_chat_template: Wanted = apply_chat_template
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop)
        self.gate = LanguageGate(language, detector, threshold)

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check that every item has a question and a number."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            if _find_result(item.fields) is None:
                raise EvaluationError(
                    f"task {task}: item {number} has no number for an answer",
                    f"Items need {' or '.join(RESULTS)}",
                )

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        prompts = [self.template.replace(QUESTION, item.fields["question"]) for item in items]
        subject = templated(subject, self.apply_chat_template)
        answers = subject.generate(prompts, max_new_tokens=self.max_new_tokens, stop=self.stop)
        return [self._grade(a, _find_result(i.fields)) for a, i in zip(answers, items, strict=True)]

    def _grade(self, answer: str, result: Decimal | None) -> float:
        found = find_last_number(answer, self.numbers)
        self.audit.note_extraction(found is not None)
        admitted = self.gate.admits(answer, self.audit)
        return float(admitted and found is not None and found == result)


def _find_template(template: str | None, language: str) -> str:
    if template is None:
        return TEMPLATES["ja-alpaca-cot" if language == "ja" else "plain"]
    if template in TEMPLATES:
        return TEMPLATES[template]
    if QUESTION not in template:
        hint = suggest(template, list(TEMPLATES))
        raise ValueError(f"the template has no {QUESTION} in it{hint}: {template!r}")
    return template


def _find_result(fields: Mapping[str, Any]) -> Decimal | None:
    """Return the number an item states; those of published files have a decimal point."""
    stated = next((fields[name] for name in RESULTS if fields.get(name) is not None), None)
    if isinstance(stated, bool) or not isinstance(stated, (str, int, float)):
        return None
    return find_last_number(str(stated))
