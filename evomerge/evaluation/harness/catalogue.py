"""Names of the harness' tasks, groups and tags, and the configurations behind them.

The harness' own index parses all of its 12,000 files, which takes 4 to 10 s. Here a name is looked
for in the user's folders first, then in that folder of the harness which has it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from evomerge.errors import EvaluationError, describe
from evomerge.evaluation.harness.grouping import Grouping, listed, read_grouping
from evomerge.registry import suggest

GROUP_KEYS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag"}
"""Keys of a group that say nothing about its members; all others are handed down to them."""
NAMED = re.compile(
    rb"^[\"']?(?:task|group|tag)[\"']?:[ \t]*[\"']?([\w.+-][^\s\"'#]*)", re.MULTILINE
)
TAGGED = re.compile(rb"^tag:[ \t]*\n((?:[ \t]*-[ \t]*\S+[ \t]*\n?)+)", re.MULTILINE)
LIKELY = 5
"""How many of the harness' folders, the most alike first, are searched before all of them."""


@dataclass(frozen=True)
class Entry:
    """A task as its YAML says, includes and functions resolved.

    Attributes:
        name: of the task.
        config: its keys and values.
        folder: where its YAML stands.
        builtin: whether it came with the harness.
    """

    name: str
    config: Mapping[str, Any]
    folder: Path
    builtin: bool


@dataclass(frozen=True)
class Listing:
    """What a name stands for.

    Attributes:
        tasks: one, or all that stand below a group or tag.
        groups: the group and the groups in it, each before what is below it.
    """

    tasks: tuple[Entry, ...]
    groups: tuple[Grouping, ...] = ()

    @property
    def aggregates(self) -> tuple[Mapping[str, Any], ...]:
        """Return how the group itself sums its tasks up."""
        return self.groups[0].aggregates if self.groups else ()

    @property
    def metrics(self) -> list[str]:
        """Return what the group sums up: 'metric,filter', or 'metric' where any filter does."""
        return [
            f"{entry['metric']},{name}" if name else str(entry["metric"])
            for entry in self.aggregates
            for name in listed("", "filter_list", entry.get("filter_list") or [""], str)
        ]


class Catalogue:
    """The user's tasks, and behind them the harness' own.

    Args:
        search_path: the user's folders, searched with all that is below them.

    Raises:
        EvaluationError: there is no such folder.
    """

    def __init__(self, search_path: Sequence[str] = ()) -> None:
        folders = [Path(folder).expanduser().resolve() for folder in search_path]
        for folder in folders:
            if not folder.is_dir():
                raise EvaluationError(f"task_search_path: there is no folder {folder}")
        self._own = _index(folders) if folders else {}
        self._files = [path for folder in folders for path in sorted(folder.rglob("*.yaml"))]

    def find(self, name: str) -> Listing:
        """Return what a name stands for.

        Raises:
            EvaluationError: nothing has that name, or a group contains itself.
        """
        if self._entry(name) is None:
            raise self._unknown(name)
        found = list(self._expand(name, {}, ()))
        tasks = {entry.name: entry for entry in found if isinstance(entry, Entry)}
        groups = {group.name: group for group in found if isinstance(group, Grouping)}
        if not tasks:
            raise EvaluationError(f"task group {name} has no tasks", "Name some under `task`")
        return Listing(tuple(tasks.values()), tuple(groups.values()))

    def _entry(self, name: str) -> Any:
        return self._own.get(name) or _builtin_entry(name)

    def _expand(
        self, member: str | Mapping[str, Any], above: Mapping[str, Any], path: tuple[str, ...]
    ) -> Iterator[Entry | Grouping]:
        """Yield the tasks and groups of a member, with the keys that the group hands down."""
        stated = {"task": member} if isinstance(member, str) else dict(member)
        name = stated.get("group") or stated.get("task")
        if not isinstance(name, str):
            raise EvaluationError(
                f"task group {path[-1]} has the member {member!r:.60}", "Say which `task` it is"
            )
        if name in path:
            raise EvaluationError(f"task group {name} contains itself", "Mend its YAML file")
        entry = self._entry(name)
        if entry is None and "group" in stated:
            yield from self._members(stated, above, (*path, f"{path[-1]}::{name}"))
            return
        if entry is None:
            raise self._unknown(name)
        above = {**above, **{k: v for k, v in stated.items() if k not in ("task", "group")}}
        if entry.kind.name == "GROUP":
            yield from self._members(_read(entry), above, (*path, name))
        elif entry.kind.name == "TAG":
            for tagged in sorted(entry.tags):
                yield from self._expand(tagged, above, (*path, name))
        else:
            folder = Path(entry.yaml_path).resolve().parent
            builtin = folder.is_relative_to(_root())
            yield Entry(name, {**_read(entry), **above, "task": name}, folder, builtin)

    def _members(
        self, group: Mapping[str, Any], above: Mapping[str, Any], path: tuple[str, ...]
    ) -> Iterator[Entry | Grouping]:
        handed_down = {k: v for k, v in group.items() if k not in GROUP_KEYS} | dict(above)
        members = group.get("task") or []
        below: list[Entry | Grouping] = []
        names: list[str] = []
        for member in listed(path[-1], "task", members, (str, Mapping)):
            found = list(self._expand(member, handed_down, path))
            below += found
            names += [e.name for e in (found[:1] if isinstance(found[0], Grouping) else found)]
        yield read_grouping(path[-1], group, names)
        yield from below

    def _unknown(self, name: str) -> EvaluationError:
        for path in self._files:
            if name.encode(errors="replace") in path.read_bytes() and (reason := _trouble(path)):
                return EvaluationError(f"{path} cannot be read: {reason}", "Mend the file")
        own = [known for known, entry in self._own.items() if entry.kind.name != "TAG"]
        hint = suggest(name, own) or suggest(name, sorted(_places()))
        return EvaluationError(
            f"lm-evaluation-harness has no task {name!r}{hint}",
            "Your own tasks are found with --task-search-path FOLDER, or task_search_path in the "
            "run file",
        )


def _read(entry: Any) -> dict[str, Any]:
    """Read an entry's YAML with its includes and functions.

    Raises:
        EvaluationError: it cannot be read, or a function it names cannot be imported.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        return dict(load_yaml(entry.yaml_path, resolve_func=True))
    except (Exception, SystemExit) as error:  # a user's functions may raise anything
        raise EvaluationError(
            f"task {entry.name}: {entry.yaml_path} cannot be read: {describe(error)}",
            "Mend the file, or install what it needs",
        ) from error


def _trouble(path: Path) -> str:
    """Say why a YAML file cannot be read, which the harness passes over; empty where it can."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        dict(load_yaml(path, resolve_func=False))
    except Exception as error:  # whatever it says, the harness has not understood it
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""


def _index(folders: Sequence[Path]) -> Mapping[str, Any]:
    from lm_eval.tasks import TaskManager

    try:
        manager = TaskManager(include_path=list(folders), include_defaults=False)
    except Exception as error:  # it sorts names, and one of them may be no text
        raise EvaluationError(
            f"the tasks in {', '.join(map(str, folders))} cannot be listed: {describe(error)}",
            "Name every task and group by a text",
        ) from error
    return {str(name): entry for name, entry in manager.task_index.items()}


@cache
def _root() -> Path:
    spec = find_spec("lm_eval.tasks")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).resolve().parent


@cache
def _builtin_entry(name: str) -> Any:
    for folder in _likely_folders(name):
        if name in _read_names(folder):
            found = _builtin_index((folder,)).get(name)
            if found is not None and found.kind.name != "TAG":
                return found
    places = _places().get(name, ())  # a tag's tasks may stand in several
    return _builtin_index(tuple(places)).get(name)


@cache
def _builtin_index(folders: tuple[Path, ...]) -> Mapping[str, Any]:
    return _index(folders)


def _likely_folders(name: str) -> list[Path]:
    """Return the harness' folders that are called most like a task."""
    folders = sorted(path for path in _root().iterdir() if path.is_dir())
    return sorted(folders, key=lambda path: -_count_common(path.name, name))[:LIKELY]


def _count_common(first: str, second: str) -> int:
    """Return how many letters two names share from their beginning."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@cache
def _places() -> Mapping[str, list[Path]]:
    """Return every name that the harness defines, and the folders that do."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(path for path in _root().iterdir() if path.is_dir()):
        for name in _read_names(folder):
            found.setdefault(name, []).append(folder)
    return found


@cache
def _read_names(folder: Path) -> frozenset[str]:
    names: set[bytes] = set()
    for path in folder.rglob("*"):
        if path.suffix == ".yaml" or path.name.endswith("_yaml"):  # templates give tags
            text = path.read_bytes()
            names.update(NAMED.findall(text))
            for tags in TAGGED.findall(text):
                names.update(re.findall(rb"[^\s-]\S*", tags))
    return frozenset(name.decode(errors="replace") for name in names)
