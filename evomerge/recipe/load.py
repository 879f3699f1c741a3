"""From YAML text to a Recipe, with every problem found in one go."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evomerge.errors import InvalidDocument, Problem, RecipeError
from evomerge.methods import METHODS
from evomerge.recipe.check import check_recipe
from evomerge.recipe.model import Recipe, Slice, Source, freeze_parameters
from evomerge.recipe.schedule import Schedule, read_schedule
from evomerge.recipe.schema import (
    NOT_YET,
    WITHOUT_EFFECT,
    InputDocument,
    ModelName,
    ModelPath,
    RecipeDocument,
    SliceDocument,
    SourceDocument,
)
from evomerge.recipe.yaml_document import read_yaml
from evomerge.registry import suggest

logger = logging.getLogger(__name__)
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "auto": None}
Doc = TypeVar("Doc", bound=BaseModel)


@dataclass
class Findings:
    """Problems and warnings collected on the way."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, message: str) -> None:
        """Note a problem."""
        if Problem(path, message) not in self.problems:
            self.problems.append(Problem(path, message))

    def wrong_once(self, path: str, message: str) -> None:
        """Note a problem unless the place already has one."""
        if all(problem.path != path for problem in self.problems):
            self.wrong(path, message)

    def warn(self, path: str, message: str) -> None:
        """Note a warning."""
        self.warnings.append(Problem(path, message))


def library() -> dict[str, Path]:
    """Return the shipped recipes by name."""
    folder = Path(__file__).parent / "library"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(path: str | Path, *, lenient: bool = False) -> Recipe:
    """Read a recipe file (or a shipped recipe by name); warnings go to the log.

    Args:
        path: a YAML file, or a name that `evomerge ls recipes` lists.
        lenient: whether unknown keys and parameters are warnings instead of errors.

    Raises:
        RecipeError: listing every problem with its YAML path.
    """
    place = library().get(str(path), Path(path))
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(str(path), [Problem("", f"cannot be read: {reason}")]) from None
    recipe, warnings = parse_recipe(read_yaml(text, str(path)), str(path), lenient=lenient)
    for warning in warnings:
        logger.warning("%s: %s", path, warning)
    return recipe


def parse_recipe(
    document: Any, source: str = "recipe", *, lenient: bool = False
) -> tuple[Recipe, list[Problem]]:
    """Turn plain values into a Recipe.

    Returns:
        The recipe, and warnings about what has no effect.

    Raises:
        RecipeError: listing every problem with its YAML path.
    """
    findings = Findings()
    shape = read_shape(RecipeDocument, document, findings, lenient=lenient)
    recipe = _build(shape, findings) if shape else None
    if recipe and recipe.method in METHODS.names():
        check_recipe(recipe, findings.wrong, findings.warn, lenient=lenient)
    elif recipe:
        known = METHODS.names()
        hint = suggest(recipe.method, known) or f"; known: {', '.join(known)}"
        findings.wrong("merge_method", f"unknown merge method {recipe.method!r}{hint}")
    if findings.problems or recipe is None:
        raise RecipeError(source, findings.problems)
    return recipe, findings.warnings


def read_shape(
    schema: type[Doc], document: Any, findings: Findings, *, lenient: bool = False
) -> Doc | None:
    """Check a document against a pydantic schema; unknown keys get a 'did you mean'.

    What is wrong is noted and left out, so that the rest can still be checked. With `lenient`,
    unknown keys are warnings. Returns None when nothing usable remains.
    """
    if not isinstance(document, Mapping):
        findings.wrong("", "expected keys and values (`key: value` lines)")
        return None
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        entries = _without_union_noise([(_plain(e["loc"], document), e) for e in error.errors()])
    repairs: dict[tuple[Any, ...], str | None] = {}
    for place, entry in sorted(entries, key=lambda e: e[1]["type"] != "extra_forbidden"):
        repairs[place] = None
        if entry["type"] == "extra_forbidden":
            known = sorted(_known_keys(schema, entry["loc"][:-1]))
            close = difflib.get_close_matches(str(place[-1]), known, n=1)
            repairs[place] = close[0] if close and not lenient else None
            note = findings.warn if lenient else findings.wrong
            note(yaml_path(place), f"unknown key {place[-1]!r}{suggest(str(place[-1]), known)}")
        elif (place[:-1], place[-1]) not in {(p[:-1], meant) for p, meant in repairs.items()}:
            message = entry["msg"].removeprefix("Value error, ")
            findings.wrong_once(yaml_path(place), message[0].lower() + message[1:])
    repaired = _repair(document, repairs)
    return None if repaired == document else read_shape(schema, repaired, findings, lenient=lenient)


def yaml_path(place: Sequence[int | str]) -> str:
    """Write a location as a YAML path: ('models', 0, 'weight') is `models[0].weight`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _plain(location: Sequence[int | str], document: Any) -> tuple[int | str, ...]:
    """Drop from a location what pydantic adds to it: union members, and '[key]'."""
    place: list[int | str] = []
    for part in location:
        written = isinstance(document, Mapping) and part in document
        if part == "[key]" or (_is_union_member(part) and not written):
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


def _is_union_member(part: int | str) -> bool:
    return isinstance(part, str) and (part[:1].isupper() or part in ("str", "float", "int", "bool"))


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
            inner += [place] if _is_union_member(part) else []
        places = inner
    return {key for place in _unfold(places, shelf) for key in place.get("properties", {})}


def _unfold(places: list[Any], shelf: Mapping[str, Any]) -> list[Any]:
    out: list[Any] = []
    for place in places:
        if "$ref" in place:
            out += _unfold([shelf[place["$ref"].rsplit("/", 1)[1]]], shelf)
        elif "anyOf" in place:
            out += _unfold(place["anyOf"], shelf)
        else:
            out.append(place)
    return out


def _repair(document: Any, repairs: Mapping[tuple[Any, ...], str | None]) -> Any:
    """Copy a document, dropping what stands at the given places or giving it its meant key."""

    def copy(value: Any, here: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            keys = {k: repairs.get((*here, k), k) for k in value}
            return {new: copy(value[old], (*here, old)) for old, new in keys.items() if new}
        if isinstance(value, list):
            return [copy(v, (*here, i)) for i, v in enumerate(value) if (*here, i) not in repairs]
        return value

    return copy(document, ())


def _build(shape: RecipeDocument, findings: Findings) -> Recipe | None:
    _note_keys(shape, findings, "")
    tried = any(p.path.startswith(("models", "slices")) for p in findings.problems)
    given = (shape.models is not None) + (shape.slices is not None)
    if given == 2 or (given == 0 and shape.modules is None and not tried):
        findings.wrong("", "give either `models:` or `slices:`, and not both")
    parts = [_build_slice(s, f"slices[{i}]", findings) for i, s in enumerate(shape.slices or [])]
    if shape.models:
        sources = [_build_source(m, f"models[{i}]", findings) for i, m in enumerate(shape.models)]
        parts = [Slice(tuple(sources))]
    if not parts:
        return None
    return Recipe(
        method=shape.merge_method,
        slices=tuple(parts),
        base_model=_name(shape.base_model, "base_model", findings),
        parameters=_parameters(shape.parameters, "parameters", findings),
        dtype=DTYPES.get(shape.dtype or "auto", shape.dtype),
        out_dtype=DTYPES.get(shape.out_dtype or "auto", shape.out_dtype),
        tokenizer_source=_tokenizer_source(shape, findings),
        chat_template=shape.chat_template,
    )


def _build_slice(part: SliceDocument, path: str, findings: Findings) -> Slice:
    _note_keys(part, findings, path)
    sources = tuple(
        _build_source(source, f"{path}.sources[{i}]", findings)
        for i, source in enumerate(part.sources)
    )
    base = _name(part.base_model, f"{path}.base_model", findings)
    return Slice(sources, base, _parameters(part.parameters, f"{path}.parameters", findings))


def _build_source(entry: InputDocument, path: str, findings: Findings) -> Source:
    layers = entry.layer_range if isinstance(entry, SourceDocument) else None
    return Source(
        _name(entry.model, f"{path}.model", findings) or "",
        (layers[0], layers[1]) if layers else None,
        _parameters(entry.parameters, f"{path}.parameters", findings),
    )


def _name(model: str | ModelName | None, path: str, findings: Findings) -> str | None:
    if not isinstance(model, ModelName):
        return model
    _note_keys(model, findings, path)
    if isinstance(model.model, ModelPath):
        return (
            f"{model.model.path}@{model.model.revision}"
            if model.model.revision
            else model.model.path
        )
    return model.model


def _tokenizer_source(shape: RecipeDocument, findings: Findings) -> str | None:
    if shape.tokenizer is None:
        return shape.tokenizer_source
    _note_keys(shape.tokenizer, findings, "tokenizer")
    if shape.tokenizer_source is not None:
        findings.wrong("tokenizer", "give either `tokenizer:` or `tokenizer_source:`, not both")
    return shape.tokenizer.source


def _note_keys(shape: BaseModel, findings: Findings, path: str) -> None:
    for key in shape.model_fields_set:
        where = f"{path}.{key}" if path else key
        if key in WITHOUT_EFFECT:
            findings.warn(where, f"has no effect: {WITHOUT_EFFECT[key]}")
        elif key in NOT_YET and getattr(shape, key) is not None:
            findings.wrong(where, NOT_YET[key])


def _parameters(
    raw: Mapping[str, Any] | None, path: str, findings: Findings
) -> tuple[tuple[str, Schedule], ...]:
    schedules: dict[str, Schedule] = {}
    for name, value in (raw or {}).items():
        try:
            if value is not None:
                schedules[name] = read_schedule(value)
        except ValueError as error:
            findings.wrong(f"{path}.{name}", str(error))
    return freeze_parameters(schedules)


__all__ = ["InvalidDocument", "library", "load_recipe", "parse_recipe", "read_shape"]
