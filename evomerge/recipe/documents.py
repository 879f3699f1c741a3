"""Several recipes in one file: each may use the others' results as its models, by their names."""

import re
from typing import Any

from evomerge.recipe.build import Builder
from evomerge.recipe.model import Recipe
from evomerge.recipe.schema import RecipeDocument
from evomerge.recipe.shape import Findings, read_shape
from evomerge.registry import closest

ALIKE = 0.8
"""How like a document's name a model must be called to be taken for a slip (from 0 to 1)."""


def read_documents(documents: list[Any], findings: Findings, *, lenient: bool) -> Recipe | None:
    """Turn the documents of one file into the recipe of its result.

    The result is the document without a name, or, if all have one, the one no other refers to.

    Args:
        documents: plain values, one for each document; None for an empty one.
        findings: told each problem and warning; paths begin with `document 2: ` where there are
            several.
        lenient: whether unknown keys and parameters are warnings instead of errors.
    """
    return _File(documents, findings, lenient).result()


class _File:
    """The documents by number (from 1), and the recipes built of them so far."""

    def __init__(self, documents: list[Any], findings: Findings, lenient: bool) -> None:
        self._all, self._lenient = findings, lenient
        given = {n: d for n, d in enumerate(documents, start=1) if d is not None} or {1: None}
        self._findings = {
            n: findings.of(f"document {n}") if len(given) > 1 else findings for n in given
        }
        shapes = {
            n: read_shape(RecipeDocument, document, self._findings[n], lenient=lenient)
            for n, document in given.items()
        }
        self._shapes = {n: shape for n, shape in shapes.items() if shape}
        self._numbers: dict[str, int] = {}
        self._built: dict[int, Recipe | None] = {}
        self._under_way: list[int] = []
        self._used: set[int] = set()
        for number, shape in self._shapes.items():
            self._enter(number, shape.name)

    def result(self) -> Recipe | None:
        """Build every document and return the one that no other needs."""
        for number in self._shapes:
            self._build(number)
        final = self._final() if not self._all.problems else None
        if final is None:
            return None
        for number in self._shapes.keys() - self._used - {final}:
            self._findings[number].warn("name", "nothing refers to it, so it is not merged")
        return self._built[final]

    def _enter(self, number: int, name: str | None) -> None:
        if name is None:
            return
        first = self._numbers.setdefault(name, number)
        if first != number:
            self._findings[number].wrong("name", f"{name!r} is the name of document {first} too")

    def _final(self) -> int | None:
        unnamed = [n for n, shape in self._shapes.items() if shape.name is None]
        ends = unnamed or [n for n in self._shapes if n not in self._used]
        if len(ends) == 1:
            return ends[0]
        told = " and ".join(map(str, ends))
        why = "have no name" if unnamed else "are used by no other"
        self._all.wrong("", f"documents {told} {why}; which is the result? Name all others")
        return None

    def _build(self, number: int) -> Recipe | None:
        if number not in self._built:
            self._under_way.append(number)
            builder = Builder(self._findings[number], self._refer, self._numbers, self._lenient)
            self._built[number] = builder.build(self._shapes[number])
            self._under_way.pop()
        return self._built[number]

    def _refer(self, reference: str, path: str, findings: Findings) -> str | Recipe:
        """Return the recipe of the document that `reference` names, or the reference itself."""
        number = self._numbers.get(reference)
        if number is None:
            self._check_reference(reference, path, findings)
            return reference
        self._used.add(number)
        if number in self._under_way:
            circle = [*self._under_way[self._under_way.index(number) :], number]
            told = " needs ".join(f"document {n}" for n in circle)
            findings.wrong(path, f"goes in a circle: {told}")
            return reference
        return self._build(number) or reference

    def _check_reference(self, reference: str, path: str, findings: Findings) -> None:
        """Refuse what was meant to be a document's name, as far as one can tell."""
        name = re.split("[@+]", reference, maxsplit=1)[0]
        meant = closest(reference, sorted(self._numbers), likeness=ALIKE)
        if name in self._numbers:
            findings.wrong(
                path, f"{name!r} is a document: it has no revision, and takes no adapter"
            )
        elif meant and len(self._shapes) > 1 and not re.search(r"[/\\:.~]", reference):
            hint = f"did you mean {meant!r}? A folder is './{reference}'"
            findings.wrong(path, f"no document is named {reference!r}; {hint}")
