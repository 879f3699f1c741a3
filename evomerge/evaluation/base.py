"""The contract of evaluators: a subject and items in, one score per item out."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from evomerge.errors import EvaluationError
from evomerge.records import Item
from evomerge.registry import Registry, suggest

ABSURD = 1e100
"""No metric gives numbers beyond this; sums of such would overflow."""


class Evaluator(ABC):
    """Base of all evaluators; subclasses write `_score` only.

    Attributes:
        higher_is_better: direction of the metric.
        fields: what every item must have.
        texts: fields that must be texts where an item has them.
        subject: what `_score` receives: a live LanguageModel, or the recipe's document (then no
            model is built at all).
    """

    higher_is_better: bool = True
    fields: ClassVar[tuple[str, ...]] = ()
    texts: ClassVar[tuple[str, ...]] = ()
    subject: Literal["model", "recipe"] = "model"
    identity: str = ""

    def evaluate(self, subject: Any, items: Sequence[Item]) -> list[float]:
        """Score every item, in order.

        Args:
            subject: a LanguageModel or a recipe document, as `subject` says.
            items: of one task.

        Raises:
            EvaluationError: there are not as many finite numbers as items.
        """
        scores = self._score(subject, items)
        name = items[0].task if items else ""
        if not isinstance(scores, Sequence) or len(scores) != len(items):
            found = f"{len(scores)} scores" if isinstance(scores, Sequence) else repr(scores)[:60]
            raise EvaluationError(
                f"task {name}: the evaluator gave {found} for {len(items)} items",
                "Return one number per item, in order",
            )
        try:
            numbers = [float(score) for score in scores]
        except (TypeError, ValueError):
            raise EvaluationError(
                f"task {name}: the evaluator gave scores that are not numbers",
                "Return one number per item, in order",
            ) from None
        wrong = sum(not abs(number) < ABSURD for number in numbers)
        if wrong:
            raise EvaluationError(
                f"task {name}: {wrong} of {len(numbers)} scores are NaN or infinite",
                "Make the metric return a finite number for every item",
            )
        return numbers

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check that every item has what the evaluator needs.

        Raises:
            EvaluationError: naming the task, the item's number and the field.
        """
        for number, item in enumerate(items, start=1):
            missing = [name for name in self.fields if item.fields.get(name) is None]
            if missing:
                raise EvaluationError(
                    f"task {task}: item {number} has no {missing[0]!r}",
                    f"Items need {', '.join(self.fields)}",
                )
            for name in self.texts:
                if not isinstance(item.fields.get(name) or "", str):
                    raise EvaluationError(
                        f"task {task}: item {number} has a {name!r} that is not a text",
                        "Put it in quotation marks",
                    )

    @abstractmethod
    def _score(self, subject: Any, items: Sequence[Item]) -> Sequence[float]:
        """Score every item, in the metric's own unit."""


EVALUATORS: Registry[type[Evaluator]] = Registry("evaluator", "evomerge.evaluators")


def build_evaluator(name: str, options: Mapping[str, Any], task: str) -> Evaluator:
    """Make an evaluator from its registered name and its options.

    Raises:
        EvaluationError: an option is unknown, missing or of the wrong kind.
    """
    kind = EVALUATORS.get(name)
    known = list(inspect.signature(kind).parameters)
    for option in options:
        if option not in known:
            raise EvaluationError(
                f"task {task}: {name} has no option {option!r}{suggest(option, known)}",
                f"It has {', '.join(known) or 'none'}",
            )
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"task {task}: {name}: {error}", "Check the task's options") from None
