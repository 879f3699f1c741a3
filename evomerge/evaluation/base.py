"""The contract of evaluators: a subject and items in, one score per item out."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from evomerge.errors import EvaluationError
from evomerge.evaluation.audit import Audit
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
        paths: options that are a path or a list of paths; `resolve_paths` sees to others.
        subject: what `_score` receives: a live LanguageModel, the recipe's document (then no
            model is built at all), or a temporary folder that holds the merge.
        per_item: whether every item has a score of its own; what gives one number for all of
            them is left out of racing and paired tests.
        at_once: whether it must be asked about all items of a candidate in one call.
        holds_out: whether the splits are asked different things; else nothing is unseen.
        identity: what its scores depend on besides its options, such as a judge's source.
        context: tokens that a model must at least read at once; 0 where any number will do.
        published: the public test set that its items are, all of them; empty if they are not.
        search_split: of its own data set, from which search and validation items come: 'test' if
            that has to be divided; empty where the items are the user's.
        audit: where `_score` notes what looks wrong about answers; `evaluate` puts it there.
    """

    higher_is_better: bool = True
    fields: ClassVar[tuple[str, ...]] = ()
    texts: ClassVar[tuple[str, ...]] = ()
    paths: ClassVar[tuple[str, ...]] = ()
    subject: Literal["model", "recipe", "folder"] = "model"
    per_item: bool = True
    at_once: bool = False
    holds_out: bool = True
    context: int = 0
    published: str = ""
    search_split: str = ""
    identity: str = ""
    audit: Audit

    @classmethod
    def parts(cls, task: str, options: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the tasks that a name stands for (a group's members), with their shares."""
        del options
        return {task: 1.0}

    @classmethod
    def looks_at(cls, options: Mapping[str, Any]) -> str:
        """Tell the subject of an evaluator with these options, before it is made."""
        return str(options.get("subject", cls.subject))

    @classmethod
    def resolve_paths(
        cls, options: Mapping[str, Any], resolve: Callable[[str], str]
    ) -> dict[str, Any]:
        """Return the options with the paths among them as they are meant.

        Args:
            options: as a run file states them.
            resolve: makes a path absolute that is relative to the run file's folder.
        """
        stated = {name: options[name] for name in cls.paths if options.get(name)}
        found = {
            name: resolve(value) if isinstance(value, str) else [resolve(path) for path in value]
            for name, value in stated.items()
        }
        return {**options, **found}

    def documents(self) -> Mapping[str | None, Sequence[Mapping[str, Any]]] | None:
        """Return the evaluator's own items by split (None: not divided yet).

        None, the default, for evaluators whose items are the task's `data`.
        """
        return None

    @property
    def undeclared(self) -> bool:
        """Whether its items are known only once a model was asked; see `find_out`."""
        return False

    def find_out(self, task: str, subject: Any) -> Mapping[str, Any]:
        """Return the options that declare what was `undeclared`, asking the first model."""
        del task, subject
        return {}

    @property
    def description(self) -> Mapping[str, Any]:
        """Return what a results file says of it, under lm-evaluation-harness' keys; or nothing."""
        return {}

    @property
    def noted(self) -> Mapping[str, Sequence[float]]:
        """Return 'metric,filter' -> a number per item scored last, where there are several."""
        return {}

    @property
    def graded(self) -> Mapping[str, Sequence[Any]]:
        """Return 'metric,filter' -> what `sum_up` needs of each item scored last."""
        return {}

    @property
    def hashes(self) -> Sequence[str]:
        """Return a hash of what was asked for each item scored last; nothing where items tell."""
        return ()

    def sum_up(self, graded: Mapping[str, Sequence[Any]]) -> Mapping[str, float]:
        """Return 'metric,filter' -> one number for all these items together."""
        del graded
        return {}

    def evaluate(
        self, subject: Any, items: Sequence[Item], audit: Audit | None = None
    ) -> list[float]:
        """Score every item, in order.

        Args:
            subject: a LanguageModel, a recipe's document or a folder, as `subject` says.
            items: of one task.
            audit: told of every answer, and of what looks wrong about it; nobody if absent.

        Raises:
            EvaluationError: there are not as many finite numbers as items.
        """
        self.audit = audit or Audit()
        if audit and self.subject == "model":
            subject = audit.watch(subject)
        scores = self._score(subject, items)
        name = items[0].task if items else ""
        if not isinstance(scores, Sequence) or len(scores) != len(items):
            found = f"{len(scores)} scores" if isinstance(scores, Sequence) else repr(scores)[:60]
            raise EvaluationError(
                f"task {name}: the evaluator gave {found} for {len(items)} items",
                "Return one number per item, in order",
            )
        try:
            numbers = [_read_number(score) for score in scores]
        except (TypeError, ValueError, OverflowError):
            raise EvaluationError(
                f"task {name}: the evaluator gave scores that are not numbers",
                "Return one number per item, in order",
            ) from None
        wrong = sum(not abs(number) < ABSURD for number in numbers)
        if wrong:
            raise EvaluationError(
                f"task {name}: {wrong} of {len(numbers)} scores are NaN or infinite",
                "So are the model's own log-likelihoods: look at the weights it was made with"
                if self.audit.measures().get("nonfinite")
                else "Make the metric return a finite number for every item",
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


def _read_number(score: Any) -> float:
    if isinstance(score, str):
        raise TypeError("a text is not a number, whatever it reads")
    return float(score)


EVALUATORS: Registry[type[Evaluator]] = Registry("evaluator", "evomerge.evaluators")


def build_evaluator(name: str, options: Mapping[str, Any], task: str) -> Evaluator:
    """Make an evaluator from its registered name and its options.

    One that has a parameter `task` gets the task's name there, unless the options name another.

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
    own = {"task": task} if "task" in known else {}
    try:
        return kind(**(own | dict(options)))
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"task {task}: {name}: {error}", "Check the task's options") from None
    except EvaluationError as error:
        if re.search(rf"\b{re.escape(task)}\b", error.what):
            raise  # it says already where it is
        raise EvaluationError(f"task {task}: {error.what}", error.hint) from None
