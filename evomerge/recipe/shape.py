"""What a document must look like: every deviation from its schema, at its YAML path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evomerge.errors import Problem
from evomerge.registry import closest, suggest

Doc = TypeVar("Doc", bound=BaseModel)


@dataclass(frozen=True)
class Findings:
    """Problems and warnings collected on the way.

    Attributes:
        problems: what keeps the document from being used.
        warnings: what has no effect.
        document: which of several documents is read; empty for the only one.
        place: YAML path to which the paths of notes are relative.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    document: str = ""
    place: str = ""

    def of(self, document: str) -> "Findings":
        """Return the same lists for notes on one of several documents."""
        return Findings(self.problems, self.warnings, document)

    def inside(self, place: str) -> "Findings":
        """Return the same lists for notes on what stands at `place`."""
        return Findings(self.problems, self.warnings, self.document, self._join(place))

    def wrong(self, path: str, message: str) -> None:
        """Note a problem."""
        problem = Problem(self._full(path), message)
        if problem not in self.problems:
            self.problems.append(problem)

    def wrong_once(self, path: str, message: str) -> None:
        """Note a problem unless the place already has one."""
        if all(problem.path != self._full(path) for problem in self.problems):
            self.wrong(path, message)

    def warn(self, path: str, message: str) -> None:
        """Note a warning."""
        self.warnings.append(Problem(self._full(path), message))

    def blame(self, *keys: str) -> bool:
        """Tell whether a problem is noted at or below one of the keys."""
        starts = tuple(self._full(key) for key in keys)
        return any(problem.path.startswith(starts) for problem in self.problems)

    def _join(self, path: str) -> str:
        return ".".join(filter(None, [self.place, path]))

    def _full(self, path: str) -> str:
        return ": ".join(filter(None, [self.document, self._join(path)]))


def read_shape(
    schema: type[Doc], document: Any, findings: Findings, *, lenient: bool = False
) -> Doc | None:
    """Check a document against a pydantic schema; unknown keys get a 'did you mean'.

    What is wrong is noted and left out, so that the rest can still be checked. With `lenient`,
    unknown keys are warnings. Returns None when nothing usable remains.
    """
    return _read(schema, document, findings, lenient=lenient, left_out=frozenset())


def _read(
    schema: type[Doc],
    document: Any,
    findings: Findings,
    *,
    lenient: bool,
    left_out: frozenset[tuple[Any, ...]],
) -> Doc | None:
    """Read what remains of a document; what lacks only what was left out is not wrong."""
    if not isinstance(document, Mapping):
        findings.wrong("", "expected keys and values (`key: value` lines)")
        return None
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        entries = _without_union_noise([(_plain(e["loc"], document), e) for e in error.errors()])
    repairs: dict[tuple[Any, ...], str | None] = {}
    for place, entry in sorted(entries, key=lambda e: not _is_unknown(e[1])):
        repairs[place] = None
        if _is_unknown(entry):
            known = _find_known(schema, place, entry["loc"])
            repairs[place] = None if lenient else closest(str(place[-1]), known)
            note = findings.warn if lenient else findings.wrong
            key = _name(place[-1])
            note(yaml_path(place), f"unknown key {key!r}{suggest(key, known)}")
        elif not _is_told(place, repairs, left_out):
            message = entry["msg"].removeprefix("Value error, ")
            findings.wrong_once(yaml_path(place), message[0].lower() + message[1:])
    left_out |= {place for place, entry in entries if not _is_unknown(entry)}
    repaired = _repair(document, repairs)
    if repaired == document:
        return None
    return _read(schema, repaired, findings, lenient=lenient, left_out=left_out)


def _is_unknown(entry: Any) -> bool:
    """Tell whether a message is about a key that has no business there."""
    return entry["type"] in {"extra_forbidden", "invalid_key"}


def _is_told(
    place: tuple[Any, ...],
    repairs: Mapping[tuple[Any, ...], str | None],
    left_out: frozenset[tuple[Any, ...]],
) -> bool:
    """Tell whether a message only follows from others: a key misspelt, or a part left out."""
    misspelt = any(meant and (*p[:-1], meant) == place for p, meant in repairs.items())
    return misspelt or any(len(p) > len(place) and p[: len(place)] == place for p in left_out)


def yaml_path(place: Sequence[int | str | None]) -> str:
    """Write a location as a YAML path: ('models', 0, 'weight') is `models[0].weight`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in place)
    return "".join(parts).removeprefix(".")


def _name(key: Any) -> str:
    """Write a key as YAML has it, where None is null."""
    return "null" if key is None else str(key)


def _plain(location: Sequence[int | str], document: Any) -> tuple[Any, ...]:
    """Drop from a location what pydantic adds to it: union members, and '[key]'.

    A key that is no string has its own value there again, not its text.
    """
    place: list[Any] = []
    for text in location:
        part = _find_key(text, document)
        written = isinstance(document, Mapping) and part in document
        if not written and (part == "[key]" or _is_union_member(part)):
            continue
        place.append(part)
        inside = isinstance(document, list) and isinstance(part, int) and part < len(document)
        document = document[part] if written or inside else None
    return tuple(place)


def _without_union_noise(entries: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Keep one message per place, the deepest: a union complains once for each member."""
    places = [place for place, _ in entries]
    first: dict[Any, Any] = {}
    for place, entry in entries:
        if not any(len(p) > len(place) and p[: len(place)] == place for p in places):
            first.setdefault(place, entry)
    return list(first.items())


def _find_key(part: int | str, document: Any) -> Any:
    """Return the key of which a location has the text, where it is no string."""
    if not isinstance(document, Mapping) or part in document:
        return part
    return next((key for key in document if str(key) == part), part)


def _is_union_member(part: Any) -> bool:
    return isinstance(part, str) and (
        part[:1].isupper()
        or part in {"str", "float", "int", "bool"}
        or part.startswith(("dict[", "list[", "tuple["))
    )


def _find_known(schema: type[BaseModel], place: tuple[Any, ...], where: Sequence[Any]) -> list[str]:
    """Return the keys that may stand where an unknown one does; null is no misspelling."""
    return sorted(_known_keys(schema, where[:-1])) if isinstance(place[-1], str) else []


def _known_keys(schema: type[BaseModel], where: Sequence[Any]) -> set[str]:
    """Return the keys that may stand at `where`, by walking the schema's definitions."""
    definition = schema.model_json_schema()
    shelf = definition.get("$defs", {})
    places = [definition]
    for part in where:
        inner: list[Any] = []
        for place in _unfold(places, shelf):
            properties = place.get("properties", {})
            inner += [properties[part]] if part in properties else []
            inner += [place["items"]] if isinstance(part, int) and "items" in place else []
            values = place.get("additionalProperties")
            inner += [values] if isinstance(values, dict) else []
            inner += [place] if _is_union_member(part) else []
        places = inner
    return {key for place in _unfold(places, shelf) for key in place.get("properties", {})}


def _unfold(places: list[Any], shelf: Mapping[str, Any]) -> list[Any]:
    out: list[Any] = []
    for place in places:
        if "$ref" in place:
            out += _unfold([shelf[place["$ref"].rsplit("/", 1)[1]]], shelf)
        elif "anyOf" in place or "oneOf" in place:
            out += _unfold(place.get("anyOf") or place["oneOf"], shelf)
        else:
            out.append(place)
    return out


def _repair(document: Any, repairs: Mapping[tuple[Any, ...], str | None]) -> Any:
    """Copy a document, dropping what stands at the given places or giving it its meant key."""

    def copy(value: Any, here: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            kept = [k for k in value if repairs.get((*here, k), "") is not None]
            return {repairs.get((*here, k), k): copy(value[k], (*here, k)) for k in kept}
        if isinstance(value, list):
            return [copy(v, (*here, i)) for i, v in enumerate(value) if (*here, i) not in repairs]
        return value

    return copy(document, ())
