"""The Recipe: a frozen merge document in mergekit's YAML dialect. The project's one language."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evomerge.recipe.schedule import Schedule
from evomerge.recipe.tokenizer import Tokenizer

Parameters = tuple[tuple[str, Schedule], ...]
"""Parameter name to schedule, sorted by name."""


def freeze_parameters(parameters: Mapping[str, Schedule]) -> Parameters:
    """Return parameters in their frozen, sorted form."""
    return tuple(sorted(parameters.items()))


@dataclass(frozen=True, slots=True)
class Source:
    """A model's part in a slice: its layers [layers[0], layers[1]), or all when None.

    The model is a reference, `path@revision+lora@revision`, or a recipe whose result is taken.
    """

    model: "str | Recipe"
    layers: tuple[int, int] | None = None
    parameters: Parameters = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Layers of the result: the sources, of equal length, are merged layer by layer.

    What enters the first of them is multiplied by `input_scale`.
    """

    sources: tuple[Source, ...]
    base_model: "str | Recipe | None" = None
    parameters: Parameters = ()
    input_scale: float = 1.0


def merges_whole_models(slices: tuple[Slice, ...]) -> bool:
    """Tell whether layers keep their places (`models:`), not being sliced."""
    return len(slices) == 1 and all(source.layers is None for source in slices[0].sources)


@dataclass(frozen=True, slots=True)
class Module:
    """One of several stacks of layers in a model: a vision tower, an encoder, a decoder.

    Attributes:
        name: as the architecture calls it.
        slices: as a recipe's.
        parameters: for all slices of this module; before the recipe's own.
    """

    name: str
    slices: tuple[Slice, ...]
    parameters: Parameters = ()

    @property
    def merges_whole_models(self) -> bool:
        """Tell whether layers keep their places (`models:`), not being sliced."""
        return merges_whole_models(self.slices)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one model of several.

    Attributes:
        method: name of the merge method.
        slices: one after another they make up the result; a single slice whose sources have no
            layer range is a merge of whole models (`models:` in YAML). Empty with `modules`.
        base_model: what task vectors are relative to; slices may name their own.
        parameters: for all modules, slices and sources that do not say otherwise.
        dtype: of the arithmetic's result, e.g. 'bfloat16'; None takes the inputs' own.
        out_dtype: of the written tensors, when it differs.
        tokenizer: the result's vocabulary; None takes the base's unchanged.
        chat_template: 'auto', the name of a known template, or a Jinja template.
        output: 'lora' merges adapters into one adapter; else the result is a model.
        lora_rank: most rank of that adapter's changes; None keeps a plain sum exact.
        modules: for models of several stacks, what each is made of.
        input_scale_target: what a slice's `input_scale` multiplies: the whole residual stream, or
            only what the last MLP before has added to it (the embedding, at the first slice).
        name: what other documents of the same file call the result. A tokenizer source that is
            the name of one of `recipes` means that recipe's result.
    """

    method: str
    slices: tuple[Slice, ...] = ()
    base_model: "str | Recipe | None" = None
    parameters: Parameters = ()
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: Tokenizer | None = None
    chat_template: str | None = None
    output: Literal["model", "lora"] | None = None
    lora_rank: int | None = None
    modules: tuple[Module, ...] = ()
    name: str | None = None
    input_scale_target: Literal["stream", "delta"] = "stream"
    _models: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())
    _recipes: "tuple[Recipe, ...]" = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        leaves: dict[str, None] = {}
        recipes: dict[Recipe, None] = {}
        for model in self.inputs:
            if isinstance(model, Recipe):
                leaves |= dict.fromkeys(model.models)
                recipes |= dict.fromkeys((*model.recipes, model))
            else:
                leaves[model] = None
        object.__setattr__(self, "_models", tuple(leaves))
        object.__setattr__(self, "_recipes", tuple(recipes))

    @property
    def sections(self) -> tuple[Module, ...]:
        """The modules; a recipe without modules is one, with an empty name."""
        return self.modules or (Module("", self.slices),)

    @property
    def inputs(self) -> "tuple[str | Recipe, ...]":
        """What this recipe itself merges, each once, a base first."""
        return tuple(dict.fromkeys(self.named()))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model reference in it, however deep in sub-recipes, each once, a base first."""
        return self._models

    @property
    def recipes(self) -> "tuple[Recipe, ...]":
        """Every sub-recipe, each once, after those that it needs itself."""
        return self._recipes

    @property
    def merges_whole_models(self) -> bool:
        """Tell whether layers keep their places (`models:`), not being sliced."""
        return merges_whole_models(self.slices)

    @property
    def tokenizer_source(self) -> str | None:
        """The tokenizer's source; None where the recipe says nothing of the tokenizer."""
        return self.tokenizer.source if self.tokenizer else None

    def rename_models(self, call: "Callable[[str | Recipe], str | Recipe]") -> "Recipe":
        """Return the recipe with every model it names (its inputs, its tokenizer's) renamed.

        Args:
            call: a reference or a sub-recipe to what takes its place. It is asked for a
                tokenizer's 'union' and 'base' too; there, only strings are taken as an answer.
        """

        def base(model: str | Recipe | None) -> str | Recipe | None:
            return None if model is None else call(model)

        def rename(part: Slice) -> Slice:
            sources = (replace(source, model=call(source.model)) for source in part.sources)
            return replace(part, sources=tuple(sources), base_model=base(part.base_model))

        return replace(
            self,
            base_model=base(self.base_model),
            slices=tuple(map(rename, self.slices)),
            modules=tuple(replace(m, slices=tuple(map(rename, m.slices))) for m in self.modules),
            tokenizer=self.tokenizer and self.tokenizer.rename_models(call),
        )

    def named(self) -> "Iterator[str | Recipe]":
        """Yield what stands wherever a model may stand, bases first."""
        slices = [part for section in self.sections for part in section.slices]
        bases = (self.base_model, *(part.base_model for part in slices))
        yield from (base for base in bases if base is not None)
        yield from (source.model for part in slices for source in part.sources)

    def to_document(self) -> dict[str, Any]:
        """Return the recipe as plain values that read back as an equal recipe."""
        document: dict[str, Any] = {"name": self.name} if self.name is not None else {}
        document["merge_method"] = self.method
        document |= _model_document("base_model", self.base_model)
        if self.modules:
            document["modules"] = {m.name: _stack_document(m) for m in self.modules}
            document |= _parameters_document(self.parameters)
        else:
            document |= _stack_document(Module("", self.slices, self.parameters))
        settings = {name: getattr(self, name) for name in _SETTINGS}
        document |= {name: value for name, value in settings.items() if value is not None}
        if self.input_scale_target != "stream":
            document["input_scale_target"] = self.input_scale_target
        return document | (self.tokenizer.to_document() if self.tokenizer else {})


_SETTINGS = ("dtype", "out_dtype", "chat_template", "output", "lora_rank")


def _stack_document(stack: Module) -> dict[str, Any]:
    """Write `models:` or `slices:`, and the parameters that all of them share."""
    first = stack.slices[0]
    if stack.merges_whole_models and first.base_model is None and first.input_scale == 1.0:
        models = [_source_document(source) for source in first.sources]
        shared = _chain(first.parameters, stack.parameters)
        return {"models": models, **_parameters_document(shared)}
    slices = [_slice_document(part) for part in stack.slices]
    return {"slices": slices, **_parameters_document(stack.parameters)}


def _chain(first: Parameters, then: Parameters) -> Parameters:
    """Join two scopes into one: what the first leaves open, the second answers."""
    rules = {name: schedule.rules for name, schedule in then}
    rules |= {name: (*schedule.rules, *rules.get(name, ())) for name, schedule in first}
    return freeze_parameters({name: Schedule(found) for name, found in rules.items()})


def _source_document(source: Source) -> dict[str, Any]:
    layers = {"layer_range": list(source.layers)} if source.layers else {}
    model = _model_document("model", source.model)
    return {**model, **layers, **_parameters_document(source.parameters)}


def _slice_document(part: Slice) -> dict[str, Any]:
    base = _model_document("base_model", part.base_model)
    sources = [_source_document(source) for source in part.sources]
    scale = {} if part.input_scale == 1.0 else {"input_scale": part.input_scale}
    return {"sources": sources, **scale, **base, **_parameters_document(part.parameters)}


def _model_document(key: str, model: str | Recipe | None) -> dict[str, Any]:
    if model is None:
        return {}
    return {key: model.to_document() if isinstance(model, Recipe) else model}


def _parameters_document(parameters: Parameters) -> dict[str, Any]:
    entries = {name: schedule.to_document() for name, schedule in parameters}
    return {"parameters": entries} if entries else {}
