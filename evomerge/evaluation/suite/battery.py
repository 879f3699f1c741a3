"""The built-in suite: seven small tests of a language model that need nothing but this package.

The parts and their weights are those of the original EvoMerge; its measures were not (one sentence
for the perplexity, five keywords for the code, all digits of an answer as one number). It is for a
first impression and for searches on a small machine: for numbers to be quoted, use published
benchmarks.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.bits_per_byte import BitsPerByte
from evomerge.evaluation.chat import Wanted
from evomerge.evaluation.exact_match import ExactMatch
from evomerge.evaluation.mgsm import MGSM
from evomerge.evaluation.multiple_choice import MultipleChoice
from evomerge.evaluation.suite.coding import Coding
from evomerge.evaluation.suite.writing import Writing
from evomerge.evaluation.task import SHARES
from evomerge.records import Item
from evomerge.registry import suggest

SHORT_ANSWER = r"(?i)\A\s*(?:(?:the )?answer(?: is)?:?\s*)?(?:(?:the|an?) )?([^\n.,;:!?(]+)"
"""The first words of an answer, without an article; `The answer is:` before them is passed over."""


@dataclass(frozen=True)
class Part:
    """One test of the suite: its share in the overall score, what grades it, and how.

    Its longest item, with the answer, fits into `context` tokens of usual length.
    """

    weight: float
    kind: type[Evaluator]
    options: Mapping[str, Any] = field(default_factory=dict)
    context: int = 128

    def make(self, apply_chat_template: Wanted) -> Evaluator:
        """Make what grades it; a chat template is for the parts that generate."""
        said = {"apply_chat_template": apply_chat_template}
        known = inspect.signature(self.kind).parameters
        return self.kind(**self.options, **{k: v for k, v in said.items() if k in known})


PARTS: Mapping[str, Part] = {
    "perplexity": Part(0.2, BitsPerByte),
    "coding": Part(0.15, Coding, context=256),
    "mathematics": Part(
        0.15,
        MGSM,
        {
            "language": "en",
            "detector": "none",
            "template": "Question: {question}\nAnswer:",
            "max_new_tokens": 48,
            "stop": ("\n\n", "\nQuestion"),
        },
    ),
    "writing": Part(0.15, Writing, context=160),
    "coherence": Part(0.15, MultipleChoice),
    "zero_shot_classification": Part(0.1, MultipleChoice),
    "zero_shot_qa": Part(
        0.1,
        ExactMatch,
        {"max_new_tokens": 10, "pattern": SHORT_ANSWER, "ignore_case": True},
    ),
}

WHOLE = "suite"


class Suite(Evaluator):
    """The built-in suite, or one part of it; it brings its items, in three fixed splits.

    `{name: suite, evaluator: suite}` stands for all seven parts, which share its weight:

    | part | share | asks | grades |
    |---|---|---|---|
    | perplexity | 0.2 | prose written for it | bits per byte, *less is better* |
    | coding | 0.15 | a Python function | all its calls give the right results |
    | mathematics | 0.15 | sums and word problems | the last number of the answer |
    | writing | 0.15 | a few sentences to order | the share of its rules that are kept |
    | coherence | 0.15 | how a story goes on | the true order is likelier than three others |
    | zero_shot_classification | 0.1 | sentiment, topic, language … | the likeliest label |
    | zero_shot_qa | 0.1 | general knowledge | the first words of the answer |

    `{name: coding, evaluator: suite}` is one of them. Where the original took 1/perplexity, this
    takes bits per byte, its negative logarithm: differences mean the same for good and bad models,
    and models with other vocabularies can be compared. Code is run within limits; where the
    platform has none (Windows), list the other parts one by one.

    Args:
        part: which one, where the task's own name does not say.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one. It is applied by the
            parts that let the model write: coding, mathematics, writing, zero_shot_qa.
    """

    def __init__(
        self, task: str, part: str | None = None, apply_chat_template: Wanted = False
    ) -> None:
        self.part = part or task
        if self.part not in PARTS:
            raise _unknown(self.part)
        self._grader = PARTS[self.part].make(apply_chat_template)
        self._file = files("evomerge.evaluation.suite") / "items" / f"{self.part}.jsonl"
        self.context = PARTS[self.part].context
        self.higher_is_better = self._grader.higher_is_better

    @classmethod
    def parts(cls, task: str, options: Mapping[str, Any]) -> Mapping[str, float]:
        """Return all parts with their shares for the name `suite`, else the one part."""
        if options.get("part") or task in PARTS:
            return {task: 1.0}
        if task != WHOLE:
            raise _unknown(task)
        return {name: part.weight for name, part in PARTS.items()}

    def documents(self) -> Mapping[str | None, Sequence[Mapping[str, Any]]]:
        """Return the items: a fixed 40 % for search, 30 % each for validation and test."""
        rows = [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]
        rows.sort(key=lambda row: hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest())
        found: dict[str | None, list[Any]] = {}
        start = 0.0
        for split, share in SHARES.items():
            found[split] = rows[round(start * len(rows)) : round((start + share) * len(rows))]
            start += share
        return found

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check items as the part's own evaluator does."""
        self._grader.check_items(task, items)

    def _score(self, subject: Any, items: Sequence[Item]) -> Sequence[float]:
        self._grader.audit = self.audit
        return self._grader._score(subject, items)


def _unknown(name: str) -> EvaluationError:
    known = [WHOLE, *PARTS]
    return EvaluationError(
        f"task {name}: the suite has no part {name!r}{suggest(name, known)}",
        f"Call the task {', '.join(known)}, or say which `part` it is",
    )
