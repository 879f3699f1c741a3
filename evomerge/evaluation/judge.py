"""Judges of the user's own: what they are told, and what their answer means.

A judge outside this program gets one JSON document and gives one back:

```json
{"task": "haiku",
 "items": [{"key": "8f1c…", "fields": {"prompt": "Write a haiku.", "season": "autumn"},
            "answer": "An old silent pond …"}]}
```

`fields` is the item as it stands in the task's data, `answer` what the merge generated. With
`needs: folder` nothing is generated; instead of the answers there is `"folder": "/tmp/…/merge"`, a
complete model on the disk, which is gone when the judge has answered.

The judge answers `{"scores": [0.5, …]}`, one number per item in order, or
`{"scores": {"8f1c…": 0.5, …}}`, one per key; the list or the object alone will do, too. Where
`metrics` names numbers, it answers an object that has these (`{"accuracy": 0.8}`); their mean is
the score of all items together, which is left out of racing and of paired tests.
"""

import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.chat import Wanted, templated
from evomerge.records import Item
from evomerge.registry import suggest

Needs = Literal["answers", "folder"]


@dataclass(kw_only=True, eq=False, repr=False)
class OutsideJudge(Evaluator):
    """Base of judges outside this program; subclasses write `_ask`, and declare options of theirs.

    Args:
        prompt: the field of an item that is generated from.
        max_new_tokens: where an answer ends at the latest.
        stop: strings before which an answer ends.
        needs: 'answers', or 'folder' for a temporary export of the merge on this machine.
        metrics: numbers of the answer (`{"accuracy": 0.8}`), where it gives no score per item.
        higher_is_better: direction of the scores.
        timeout: seconds to wait for the answer.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one.
    """

    prompt: str = "prompt"
    max_new_tokens: int = 256
    stop: str | Sequence[str] = ()
    needs: Needs = "answers"
    metrics: list[str] | None = None
    higher_is_better: bool = True
    timeout: float = 60.0
    apply_chat_template: Wanted = False

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: one of them makes no sense.
        """
        if self.needs not in ("answers", "folder"):
            raise ValueError(f"needs must be 'answers' or 'folder', not {self.needs!r}")
        if type(self.max_new_tokens) is not int or self.max_new_tokens < 1:
            raise ValueError("max_new_tokens must be a whole number of at least 1")
        self.stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if not all(isinstance(word, str) and word for word in self.stop):
            raise ValueError("stop must be a text or a list of texts, none of them empty")
        if not 0 < self.timeout <= 1e6:
            raise ValueError("timeout must be a positive number of seconds, at most a million")
        self.metrics = check_metrics(self.metrics)
        self.subject = "folder" if self.needs == "folder" else "model"
        self.per_item = not self.metrics
        self.at_once = self.needs == "folder" or bool(self.metrics)

    @classmethod
    def looks_at(cls, options: Mapping[str, Any]) -> str:
        """Tell 'folder' where the options say so, else 'model'."""
        return "folder" if options.get("needs") == "folder" else "model"

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check that there is something to generate from, where answers are wanted."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            if self.subject == "model" and not isinstance(item.fields.get(self.prompt), str):
                raise EvaluationError(
                    f"task {task}: item {number} has no text {self.prompt!r}",
                    "Say with `prompt` which field the model shall continue",
                )

    def _score(self, subject: Any, items: Sequence[Item]) -> Any:
        if not items:
            return []
        told: list[dict[str, Any]] = [{"key": i.key, "fields": dict(i.fields)} for i in items]
        document: dict[str, Any] = {"task": items[0].task, "items": told}
        if self.subject == "folder":
            document["folder"] = str(subject)
        else:
            for entry, answer in zip(told, self._generate(subject, items), strict=True):
                entry["answer"] = answer
        found = self._ask(items[0].task, json.dumps(document).encode())
        return read_answer(_parse(items[0].task, found), items, self.metrics or ())

    def _generate(self, subject: Any, items: Sequence[Item]) -> list[str]:
        prompts = [item.fields[self.prompt] for item in items]
        answers: list[str] = templated(subject, self.apply_chat_template).generate(
            prompts, max_new_tokens=self.max_new_tokens, stop=self.stop
        )
        return answers

    @abstractmethod
    def _ask(self, task: str, document: bytes) -> bytes:
        """Send the document; return the judge's answer as it came.

        Raises:
            EvaluationError: there is no answer.
        """


def read_answer(answer: Any, items: Sequence[Item], metrics: Sequence[str] = ()) -> Any:
    """Turn a judge's answer into one score per item.

    Args:
        answer: a list in order of the items, a mapping by their keys, either of them under the
            key `scores`; or, with `metrics`, a mapping that has these.
        items: at least one, of one task.
        metrics: names of the numbers whose mean is the score of all items.

    Raises:
        EvaluationError: keys are missing, or are of no item.
    """
    task = items[0].task
    if isinstance(answer, Mapping) and set(answer) == {"scores"} and "scores" not in metrics:
        answer = answer["scores"]
    if metrics:
        return [_mean(task, answer, metrics)] * len(items)
    if not isinstance(answer, Mapping):
        return answer
    missing = [item.key for item in items if item.key not in answer]
    strange = answer.keys() - {item.key for item in items}
    if missing or strange:
        of = f"; {sorted(map(str, strange))[0]!r} is none of its items" if strange else ""
        raise EvaluationError(
            f"task {task}: the judge scored {len(items) - len(missing)} of {len(items)} items{of}",
            "Give a score to every key, and no others; or name the answer's numbers with `metrics`",
        )
    return [answer[item.key] for item in items]


def check_metrics(metrics: Sequence[str] | None) -> list[str]:
    """Return the names of a judge's numbers, none where it gives a score per item.

    Raises:
        ValueError: it is not a list of names.
    """
    if metrics is None:
        return []
    if isinstance(metrics, str) or not metrics or not all(isinstance(m, str) for m in metrics):
        raise ValueError("metrics must be a list of names, at least one")
    return list(metrics)


def _mean(task: str, answer: Any, metrics: Sequence[str]) -> float:
    if not isinstance(answer, Mapping):
        raise EvaluationError(
            f"task {task}: the judge gave {show(answer)}, not numbers by name",
            f"Answer with {', '.join(metrics)}",
        )
    for name in metrics:
        if name not in answer:
            found = [str(key) for key in answer]
            raise EvaluationError(
                f"task {task}: the judge gave no {name!r}{suggest(name, found)}",
                f"It gave {', '.join(found) or 'nothing'}",
            )
        if isinstance(answer[name], str) or not hasattr(answer[name], "__float__"):
            raise EvaluationError(
                f"task {task}: the judge gave {show(answer[name])} for {name!r}",
                "Give a number",
            )
    return math.fsum(float(answer[name]) for name in metrics) / len(metrics)


def show(value: Any) -> str:
    """Write a value of the user's in few characters of one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parse(task: str, answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        shown = show(answer.decode(errors="replace").strip())
        raise EvaluationError(
            f"task {task}: the judge's answer is not JSON: {shown}", "Answer with JSON only"
        ) from None
