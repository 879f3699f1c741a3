"""Tasks: items in three splits that never touch, and the evaluator that scores them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.records import Item
from evomerge.registry import suggest

SPLITS = ("search", "validation", "test")
SEALED = "test"
"""The split that only the test stage may read."""

SHARES = {"search": 0.4, "validation": 0.3, "test": 0.3}
"""How a file without splits is divided."""
ASKED = ("prompt", "question", "choices", "text")
"""Fields that make up the question of an item, where it has any of them."""
ZOO = "zoo:"
SEARCH_AND_VALIDATION = "search+validation"
"""A split whose items are divided among these two, by seeded hash, in their usual proportion."""
OTHER_NAMES = {"train": None, "valid": "validation", "val": "validation", "dev": "validation"}


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        name: as in the run file.
        evaluator: what scores its items.
        items: split -> items, in an order that depends on seed and content only.
        weight: share in the overall score, positive.
        minimise: less of a score that is better when higher is asked for (a negative weight).
        key: identity of the evaluator and its options; part of the cache key of every score.
        divided: its items had no splits and were divided by seeded hash.
        mark: what the verdict must say of it, one sentence; empty where there is nothing to say.
        limits: split -> items asked for, where that many were; there may be fewer.
    """

    name: str
    evaluator: Evaluator
    items: Mapping[str, tuple[Item, ...]]
    weight: float
    key: str
    minimise: bool = False
    divided: bool = False
    mark: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def direction(self) -> float:
        """Return 1 where a higher score is an improvement, else -1."""
        return 1.0 if self.evaluator.higher_is_better and not self.minimise else -1.0

    def without(self, split: str) -> "Task":
        """Return the task as one sees it who may not read a split."""
        kept = {name: items for name, items in self.items.items() if name != split}
        return replace(self, items=kept)

    @property
    def shortfall(self) -> str:
        """Return 'search 40 of 100, test 9 of 20': the splits with fewer items than asked for."""
        if not self.evaluator.per_item:
            return ""
        short = ((s, len(self.items[s]), n) for s, n in self.limits.items() if s in self.items)
        return ", ".join(f"{split} {count} of {n}" for split, count, n in short if count < n)

    @property
    def fingerprint(self) -> str:
        """Identity of evaluator and items, split by split (32 hexadecimal digits)."""
        keys = {split: [item.key for item in items] for split, items in self.items.items()}
        return hashlib.sha256(json.dumps([self.key, keys]).encode()).hexdigest()[:32]


def read_items(
    task: str,
    data: str | Mapping[Any, str],
    *,
    seed: int = 0,
    limits: Mapping[str, int] | None = None,
) -> dict[str, tuple[Item, ...]]:
    """Read a task's items.

    Args:
        task: its name.
        data: `zoo:NAME`, one file (lines may name their `split`; else they are divided by seeded
            hash), or {split: file}. Files are JSONL or, called `.tsv`, hold lines of question,
            tab, answer.
        seed: of the division and of the choice of items.
        limits: most items per split; which ones depends on seed and content only.

    Raises:
        EvaluationError: a file is missing or of another form, or a split has no items.
    """
    rows = (
        (fields, split, f"line {number} of {path} has")
        for split, path in _files(task, data)
        for number, fields in _read_lines(task, path)
    )
    return _share_out(task, rows, seed, limits or {})


def share_out(
    task: str,
    documents: Mapping[str | None, Sequence[Mapping[str, Any]]],
    *,
    seed: int = 0,
    limits: Mapping[str, int] | None = None,
) -> dict[str, tuple[Item, ...]]:
    """Make items of an evaluator's own documents, as `read_items` does of files.

    Args:
        task: its name.
        documents: split -> fields of each item; those under None are divided by seeded hash.
        seed: of the division and of the choice of items.
        limits: most items per split.

    Raises:
        EvaluationError: a split has no items, or two share one.
    """
    rows = (
        (fields, split, f"document {number} has")
        for split, found in documents.items()
        for number, fields in enumerate(found)
    )
    return _share_out(task, rows, seed, limits or {})


def _share_out(
    task: str,
    rows: Iterable[tuple[Mapping[str, Any], str | None, str]],
    seed: int,
    limits: Mapping[str, int],
) -> dict[str, tuple[Item, ...]]:
    pools: dict[str, dict[str, Item]] = {split: {} for split in SPLITS}
    for fields, split, place in rows:
        item = Item(_key(task, fields), task, fields)
        if home := _find_home(task, fields, split, place, seed):
            pools[home][item.key] = item
    keep_apart(f"task {task}", {split: pool.values() for split, pool in pools.items()})
    chosen: dict[str, tuple[Item, ...]] = {}
    for split, pool in pools.items():
        if not pool:
            raise EvaluationError(
                f"task {task}: its {split} split is empty",
                "Give items for search, validation and test",
            )
        order = sorted(pool.values(), key=lambda item: _draw(seed, item.key))
        chosen[split] = tuple(order[: limits.get(split)])
    return chosen


def items_of(task: str, documents: Iterable[Mapping[str, Any]]) -> tuple[Item, ...]:
    """Make items of documents as they come, all of one split."""
    return tuple(Item(_key(task, fields), task, fields) for fields in documents)


def question(fields: Mapping[str, Any]) -> str:
    """Return what makes an item the same question, whatever its number or its other notes."""
    asked = {name: fields[name] for name in ASKED if name in fields}
    asked = asked or {name: value for name, value in fields.items() if name != "split"}
    return json.dumps(asked, sort_keys=True)


def keep_apart(whose: str, splits: Mapping[str, Iterable[Item]]) -> None:
    """Check that no question stands in two splits.

    Raises:
        EvaluationError: naming the splits.
    """
    questions = {split: {question(i.fields) for i in items} for split, items in splits.items()}
    for i, first in enumerate(SPLITS):
        for second in SPLITS[i + 1 :]:
            shared = questions[first] & questions[second]
            if shared:
                raise EvaluationError(
                    f"{whose}: {len(shared)} items stand in both {first} and {second}",
                    "Splits must not share items, or the verdict means nothing",
                )


def zoo_tasks() -> dict[str, Path]:
    """Return the embedded item files by name."""
    folder = Path(str(files("evomerge"))) / "zoo" / "tasks"
    return {path.stem: path for path in sorted(folder.glob("*.jsonl"))}


def _files(task: str, data: str | Mapping[Any, str]) -> list[tuple[str | None, Path]]:
    if isinstance(data, str):
        if not data.startswith(ZOO):
            return [(None, Path(data).expanduser())]
        name = data.removeprefix(ZOO)
        if name not in zoo_tasks():
            hint = suggest(name, list(zoo_tasks()))
            raise EvaluationError(
                f"task {task}: the zoo has no items {name!r}{hint}",
                f"It has {', '.join(zoo_tasks())}",
            )
        return [(None, zoo_tasks()[name])]
    return [(split, Path(path).expanduser()) for split, path in data.items()]


def _read_lines(task: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # U+2028 may stand within an item
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise EvaluationError(f"task {task}: {path} cannot be read: {reason}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = _read_pair(line) if path.suffix == ".tsv" else _read_object(line)
        if fields is None:
            form = "question, tab, answer" if path.suffix == ".tsv" else "a JSON object"
            raise EvaluationError(
                f"task {task}: line {number} of {path} is not {form}", "Write one item a line"
            )
        rows.append((number, fields))
    return rows


def _read_object(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _read_pair(line: str) -> dict[str, Any] | None:
    """Read a line of the form in which MGSM is published."""
    asked, tab, answer = line.rstrip().rpartition("\t")
    return {"question": asked, "answer": answer} if tab else None


def _find_home(
    task: str, fields: Mapping[str, Any], split: str | None, place: str, seed: int
) -> str | None:
    """Return the split of an item: its file's, or its own, or one by seeded hash."""
    if split == SEARCH_AND_VALIDATION:
        return _divide(seed, question(fields), SPLITS[:2])
    if split is not None:
        return _home(split, f"task {task}: its data have")
    if fields.get("split") is not None:
        return _home(fields["split"], f"task {task}: {place}")
    return _divide(seed, question(fields))


def _home(split: Any, place: str) -> str | None:
    """Return the split that a name stands for; None is passed over."""
    name = str(split)
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    if name not in SPLITS:
        raise EvaluationError(
            f"{place} the split {split!r}{suggest(name, list(SPLITS))}",
            f"Splits are {', '.join(SPLITS)} (and train, which is passed over)",
        )
    return name


def _key(task: str, fields: Mapping[str, Any]) -> str:
    content = {name: value for name, value in fields.items() if name != "split"}
    text = json.dumps([task, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _draw(seed: int, key: str) -> float:
    digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _divide(seed: int, key: str, among: Sequence[str] = SPLITS) -> str:
    draw = _draw(seed, f"split {key}") * sum(SHARES[split] for split in among)
    edge = 0.0
    for split in among:
        edge += SHARES[split]
        if draw < edge:
            return split
    return among[-1]
