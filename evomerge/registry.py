"""A table of contents for plug-ins: ours by one line, strangers' by entry point.

A third party adds a merge method by shipping, in its own package,

```toml
[project.entry-points."evomerge.methods"]
median = "my_package.median:median"
```
"""

import difflib
import logging
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from evomerge.errors import UnknownName

logger = logging.getLogger(__name__)
T = TypeVar("T")


def closest(name: str, known: list[str], *, likeness: float = 0.6) -> str | None:
    """Return the known name that is most like `name`, whatever its case; None if none is."""
    spelled = {entry.lower(): entry for entry in known}
    found = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=likeness)
    return spelled[found[0]] if found else None


def suggest(name: str, known: list[str]) -> str:
    """Return ' (did you mean X?)' for the closest known name, or an empty string."""
    close = closest(name, known)
    return f" (did you mean {close!r}?)" if close else ""


class Registry(Generic[T]):
    """Names to plug-ins of one kind.

    Args:
        kind: what is registered, singular, for messages ('merge method').
        group: entry-point group through which other packages add to it.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, T] = {}
        self._strangers_loaded = False

    def register(self, name: str, entry: T) -> T:
        """Add `entry` under `name`; a name is taken once."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            UnknownName: with the closest known name.
        """
        self._load_strangers()
        if name not in self._entries:
            known = self.names()
            raise UnknownName(
                f"unknown {self.kind} {name!r}{suggest(name, known)}", f"Known: {', '.join(known)}"
            )
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._load_strangers()
        return sorted(self._entries)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield (name, entry), sorted by name."""
        for name in self.names():
            yield name, self._entries[name]

    def _load_strangers(self) -> None:
        if self._strangers_loaded:
            return
        self._strangers_loaded = True
        for point in entry_points(group=self.group):
            if point.name not in self._entries:
                self._load(point)

    def _load(self, point: EntryPoint) -> None:
        """Load a stranger's entry; a broken package must not take ours down with it."""
        try:
            self._entries[point.name] = point.load()
        except Exception as error:  # whatever a stranger's import raises
            owner = point.dist.name if point.dist else "unknown"
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning(
                "%s %r of package %s cannot be loaded (%s); repair or uninstall the package",
                *(self.kind, point.name, owner, reason),
            )
