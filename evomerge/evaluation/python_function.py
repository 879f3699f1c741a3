"""Any Python function as the judge: the user's own notion of good."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from evomerge.errors import EvaluationError, describe
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.judge import check_metrics, read_answer, show
from evomerge.evaluation.lent import lent
from evomerge.evaluation.task import SPLITS
from evomerge.records import Item

SUBJECTS = ("model", "recipe", "folder")
RAW = ("model", "tokenizer", "items", "split")
"""What a function may take by name."""


class PythonFunction(Evaluator):
    """Scores by a function of yours.

    `function(model, tokenizer)`, by these names, gets the transformers module and its tokenizer.
    It owns its items, so the task has no `data`: a list it returns holds one score per item, in
    an order that never changes; the places are divided into search, validation and test by seeded
    hash, and only the asked split's are read. A mapping (`{"accuracy": 0.8}`; of `{"score": …}`
    only that) is one number for everything, the mean of its values: it is left out of racing and
    of paired tests, and its test items are those that the search saw. What it answers with is
    found out once, on the first model, unless `items` or `metrics` say so. With a third parameter
    `split` it is told 'search', 'validation' or 'test', and shall judge by other items for each.
    With a third parameter `items` it gets the task's `data` instead, and returns one score each.

    `function(subject, items)` gets a LanguageModel of this program (or, with `subject: recipe`,
    the recipe as a dict; with `subject: folder`, the path of a temporary export) and the items as
    dicts; it returns one score per item. A model is lent: who writes into its parameters or
    buffers has failed.

    Args:
        function: `package.module:name` or `path/to/file.py:name`.
        subject: what a function without `tokenizer` judges.
        higher_is_better: direction of its scores.
        items: how many scores it returns, where it owns its items (per split, if it takes one).
        metrics: the numbers of its mapping whose mean is the score.
    """

    def __init__(
        self,
        function: str,
        subject: Literal["model", "recipe", "folder"] = "model",
        higher_is_better: bool = True,
        items: int | dict[str, int] | None = None,
        metrics: list[str] | None = None,
    ) -> None:
        if subject not in SUBJECTS:
            raise ValueError(f"subject must be 'model' or 'recipe' or 'folder', not {subject!r}")
        self.subject = subject
        self.higher_is_better = higher_is_better
        self.metrics = check_metrics(metrics)
        self._function = find_function(function)
        self._takes = _read_parameters(self._function, str(function), subject)
        self.owns = bool(self._takes) and "items" not in self._takes
        self.items = _check_counts(items, self._takes) if self.owns else None
        if items is not None and (not self.owns or self.metrics):
            raise ValueError("items is for a function that owns its items and scores each of them")
        self.per_item = not self.metrics and (not self.owns or self.items is not None)
        self.at_once = self.owns or not self.per_item or subject == "folder"
        self.holds_out = not self.owns or self.items is not None or "split" in self._takes
        self.identity = _hash_source(self._function)

    @classmethod
    def resolve_paths(
        cls, options: Mapping[str, Any], resolve: Callable[[str], str]
    ) -> dict[str, Any]:
        """Resolve the file that a function is in; leave modules alone."""
        place, _, name = options["function"].rpartition(":")
        found = f"{resolve(place)}:{name}" if place.endswith(".py") else options["function"]
        return {**options, "function": found}

    @property
    def undeclared(self) -> bool:
        """Whether what the function answers with is still to be found out."""
        return bool(self._takes) and self.items is None and not self.metrics and self.owns

    def documents(self) -> Mapping[str | None, Sequence[Mapping[str, Any]]] | None:
        """Return the places of a list that the function owns, or all of it as one item."""
        if not self.owns:
            return None
        if isinstance(self.items, int):
            return {None: [{"place": place} for place in range(self.items)]}
        if self.items:
            return {
                split: [{"place": place, "of": split} for place in range(count)]
                for split, count in self.items.items()
            }
        return {split: [{"everything": split}] for split in SPLITS}

    def find_out(self, task: str, subject: Any) -> dict[str, Any]:
        """Return the options (`items` or `metrics`) that declare what the function answers with.

        Args:
            task: its name, for messages.
            subject: a LanguageModel.

        Raises:
            EvaluationError: the answer is neither a list of scores nor a mapping of numbers.
        """
        splits = SPLITS if "split" in self._takes else SPLITS[:1]
        answers = {split: self._call(subject, [], split) for split in splits}
        first = answers[splits[0]]
        if isinstance(first, Mapping):
            return {"metrics": ["score"] if "score" in first else sorted(map(str, first))}
        counts = {split: _count(task, answer) for split, answer in answers.items()}
        return {"items": counts if "split" in self._takes else counts[splits[0]]}

    def _score(self, subject: Any, items: Sequence[Item]) -> Any:
        if not self.owns:
            answer = self._call(subject, items, "")
            if isinstance(answer, Mapping) and not self.metrics:
                names = ", ".join(sorted(map(str, answer)))
                raise EvaluationError(
                    f"task {items[0].task}: the evaluator gave {show(answer)} for {len(items)} "
                    "items",
                    f"Return one number per item, in order, or declare `metrics: [{names}]`",
                )
            return read_answer(answer, items, self.metrics) if self.metrics else answer
        fields = items[0].fields
        answer = self._call(subject, items, fields.get("of") or fields.get("everything") or "")
        if not self.per_item:
            return read_answer(answer, items, self.metrics)
        found = _count(items[0].task, answer)
        if found != self._expected(items[0]):
            raise EvaluationError(
                f"task {items[0].task}: the function gave {found} scores, not "
                f"{self._expected(items[0])}",
                "Return as many for every model, in the same order",
            )
        return [answer[item.fields["place"]] for item in items]

    def _expected(self, item: Item) -> int:
        return self.items[item.fields["of"]] if isinstance(self.items, dict) else self.items or 0

    def _call(self, subject: Any, items: Sequence[Item], split: str) -> Any:
        rows = [dict(item.fields) for item in items]
        module = getattr(subject, "module", None)
        with (
            lent(module),
            redirect_stdout(sys.stderr),
        ):  # what a judge prints must not get between the results
            if not self._takes:
                answer = self._function(subject, rows)
            else:
                offered = (subject.module, subject.tokenizer, rows, split)
                given = dict(zip(RAW, offered, strict=True))
                answer = self._function(**{name: given[name] for name in self._takes})
                subject.module.eval()  # whatever a function did, the next one finds it as it was
        return answer.tolist() if hasattr(answer, "tolist") else answer  # numpy, torch, pandas


def find_function(reference: str) -> Callable[..., Any]:
    """Import `module:name` or `file.py:name`.

    Raises:
        EvaluationError: there is no such file, module or function.
    """
    place, _, name = str(reference).rpartition(":")
    if not place or not name:
        raise EvaluationError(
            f"{reference!r} names no function", "Write package.module:name or path/to/file.py:name"
        )
    try:
        module = (
            _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        )
    except (ImportError, OSError, SyntaxError) as error:
        raise EvaluationError(f"{place} cannot be imported: {error}", "Check the path") from None
    except (Exception, SystemExit) as error:  # what a user's file does while it is imported
        raise EvaluationError(
            f"{place} cannot be imported: {describe(error)}", "Mend the file"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise EvaluationError(f"{place} has no function {name!r}", "Check the name after the colon")
    return function  # type: ignore[no-any-return]  # callable is all that is known of it


def _read_parameters(function: Callable[..., Any], name: str, subject: str) -> tuple[str, ...]:
    """Return which of `RAW` a function takes by name; nothing where it takes subject and items."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell
        return ()
    raw = {"model", "tokenizer"} <= signature.parameters.keys()
    takes = tuple(part for part in RAW if part in signature.parameters) if raw else ()
    try:
        signature.bind(**dict.fromkeys(takes)) if raw else signature.bind(None, None)
    except TypeError:
        raise ValueError(
            f"{name} takes {signature}; it must take (model, tokenizer), and items or split "
            "besides, by these names, or (subject, items)"
        ) from None
    if raw and subject != "model":
        raise ValueError(f"{name} takes a model and a tokenizer, so its subject is the model")
    if {"items", "split"} <= set(takes):
        raise ValueError(f"{name} takes items and split; items come from one split already")
    return takes


def _check_counts(
    items: int | Mapping[str, int] | None, takes: Sequence[str]
) -> int | dict[str, int] | None:
    counts = list(items.values()) if isinstance(items, Mapping) else [1 if items is None else items]
    if not all(type(count) is int and count > 0 for count in counts):
        raise ValueError("items must be a number of at least 1, or one for every split")
    if isinstance(items, Mapping) and set(items) != set(SPLITS):
        raise ValueError(f"items must say how many there are in each of {', '.join(SPLITS)}")
    if items is not None and isinstance(items, Mapping) != ("split" in takes):
        raise ValueError("items is one number per split exactly where the function takes `split`")
    return dict(items) if isinstance(items, Mapping) else items


def _count(task: str, answer: Any) -> int:
    if isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer):
        return len(answer)
    raise EvaluationError(
        f"task {task}: the function gave {show(answer)}",
        "Return a list of one score per item, or a mapping of numbers",
    )


def _hash_source(function: Callable[..., Any]) -> str:
    """Hash the file that defines a function; empty where there is none."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return ""
    readable = source is not None and Path(source).is_file()
    return hashlib.sha256(Path(str(source)).read_bytes()).hexdigest() if readable else ""


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"evomerge_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
