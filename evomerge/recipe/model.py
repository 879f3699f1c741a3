"""The Recipe: a frozen merge document in mergekit's YAML dialect. The project's one language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evomerge.recipe.schedule import Schedule

Parameters = tuple[tuple[str, Schedule], ...]
"""Parameter name to schedule, sorted by name."""


def freeze_parameters(parameters: Mapping[str, Schedule]) -> Parameters:
    """Return parameters in their frozen, sorted form."""
    return tuple(sorted(parameters.items()))


@dataclass(frozen=True, slots=True)
class Source:
    """A model's part in a slice: its layers [layers[0], layers[1]), or all when None."""

    model: str
    layers: tuple[int, int] | None = None
    parameters: Parameters = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Layers of the result: the sources, of equal length, are merged layer by layer."""

    sources: tuple[Source, ...]
    base_model: str | None = None
    parameters: Parameters = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one model of several.

    Attributes:
        method: name of the merge method.
        slices: one after another they make up the result; a single slice whose sources have no
            layer range is a merge of whole models (`models:` in YAML).
        base_model: what task vectors are relative to; slices may name their own.
        parameters: for all slices and sources that do not say otherwise.
        dtype: of the arithmetic's result, e.g. 'bfloat16'; None takes the inputs' own.
        out_dtype: of the written tensors, when it differs.
        tokenizer_source: 'base', 'union' or a model whose tokenizer is taken.
        chat_template: 'auto', or a template of its own.
    """

    method: str
    slices: tuple[Slice, ...]
    base_model: str | None = None
    parameters: Parameters = ()
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: str | None = None
    chat_template: str | None = None
    _models: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        named = [self.base_model, *(s.base_model for s in self.slices)]
        named += [source.model for part in self.slices for source in part.sources]
        object.__setattr__(self, "_models", tuple(dict.fromkeys(m for m in named if m)))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model named, each once, a base first."""
        return self._models

    @property
    def merges_whole_models(self) -> bool:
        """Tell whether layers keep their places (`models:`), not being sliced."""
        return len(self.slices) == 1 and all(s.layers is None for s in self.slices[0].sources)

    def to_document(self) -> dict[str, Any]:
        """Return the recipe as plain values that read back as an equal recipe."""
        document: dict[str, Any] = {"merge_method": self.method}
        if self.base_model:
            document["base_model"] = self.base_model
        if self.merges_whole_models and not self.slices[0].base_model:
            document["models"] = [_source_document(s) for s in self.slices[0].sources]
            shared = _chain(self.slices[0].parameters, self.parameters)
        else:
            document["slices"] = [_slice_document(part) for part in self.slices]
            shared = self.parameters
        settings = {name: getattr(self, name) for name in _SETTINGS}
        document |= _parameters_document(shared)
        return document | {name: value for name, value in settings.items() if value is not None}


def _chain(first: Parameters, then: Parameters) -> Parameters:
    """Join two scopes into one: what the first leaves open, the second answers."""
    rules = {name: schedule.rules for name, schedule in then}
    rules |= {name: (*schedule.rules, *rules.get(name, ())) for name, schedule in first}
    return freeze_parameters({name: Schedule(found) for name, found in rules.items()})


_SETTINGS = ("dtype", "out_dtype", "tokenizer_source", "chat_template")


def _source_document(source: Source) -> dict[str, Any]:
    layers = {"layer_range": list(source.layers)} if source.layers else {}
    return {"model": source.model, **layers, **_parameters_document(source.parameters)}


def _slice_document(part: Slice) -> dict[str, Any]:
    base = {"base_model": part.base_model} if part.base_model else {}
    sources = [_source_document(source) for source in part.sources]
    return {"sources": sources, **base, **_parameters_document(part.parameters)}


def _parameters_document(parameters: Any) -> dict[str, Any]:
    entries = {name: schedule.to_document() for name, schedule in parameters}
    return {"parameters": entries} if entries else {}
