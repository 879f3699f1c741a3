"""From a document of the right shape to a Recipe, with what only a whole recipe can get wrong."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from evomerge.methods import METHODS, MethodSpec
from evomerge.recipe.check import check_recipe
from evomerge.recipe.model import (
    Module,
    Parameters,
    Recipe,
    Slice,
    Source,
    freeze_parameters,
)
from evomerge.recipe.schedule import Schedule, read_schedule
from evomerge.recipe.schema import (
    WITHOUT_EFFECT,
    InputDocument,
    ModelName,
    ModelPath,
    RecipeDocument,
    SliceDocument,
    SourceDocument,
    StackDocument,
    TokenDocument,
    TokenOrigin,
)
from evomerge.recipe.shape import Findings
from evomerge.recipe.tokenizer import Tokenizer, TokenSource
from evomerge.registry import suggest

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "auto": None}
DEEPEST = 32
"""Most recipes one within the other."""
MOST_RECIPES = 1000
"""Most sub-recipes of one recipe, each counted as often as it is used."""

Refer = Callable[[str, str, Findings], str | Recipe]
"""Model reference, its YAML path and the findings to what is meant: itself, or a document."""


@dataclass
class Builder:
    """Builds one recipe, and inside it those that stand where a model may stand.

    Attributes:
        findings: told what is wrong.
        refer: looks a reference up among the documents of the file.
        documents: the names of all documents of the file.
        lenient: whether unknown parameters are only warned about.
        depth: how many recipes this one stands in.
    """

    findings: Findings
    refer: Refer
    documents: Collection[str] = ()
    lenient: bool = False
    depth: int = 0
    spec: MethodSpec | None = None
    count: int = 0

    def build(self, shape: RecipeDocument) -> Recipe | None:
        """Return the recipe; None when nothing usable was given, and why is noted."""
        self.spec = self._method(shape.merge_method)
        self._note_keys(shape, "")
        stacks = self._modules(shape)
        if not all(stack.slices for stack in stacks):
            return None
        first = stacks[0]
        whole = shape.modules is None
        recipe = Recipe(
            method=shape.merge_method,
            slices=first.slices if whole else (),
            base_model=self._base(shape.base_model, "base_model"),
            parameters=self._parameters(shape.parameters, "parameters"),
            dtype=DTYPES.get(shape.dtype or "auto", shape.dtype),
            out_dtype=DTYPES.get(shape.out_dtype or "auto", shape.out_dtype),
            tokenizer=self._tokenizer(shape),
            chat_template=shape.chat_template,
            output=shape.output,
            lora_rank=shape.lora_rank,
            modules=() if whole else tuple(stacks),
            name=shape.name,
            input_scale_target=shape.input_scale_target,
        )
        self._check_tokenizer(recipe, "tokenizer" if shape.tokenizer else "tokenizer_source")
        if self.spec:
            check_recipe(recipe, self.findings.wrong, self.findings.warn, lenient=self.lenient)
        return recipe if self.count <= MOST_RECIPES else None

    def _method(self, name: str) -> MethodSpec | None:
        known = METHODS.names()
        if name in known:
            return METHODS.get(name)
        hint = suggest(name, known) or f"; known: {', '.join(known)}"
        self.findings.wrong("merge_method", f"unknown merge method {name!r}{hint}")
        return None

    def _modules(self, shape: RecipeDocument) -> list[Module]:
        given = [key for key in ("models", "slices", "modules") if getattr(shape, key) is not None]
        tried = self.findings.blame("models", "slices", "modules")
        if len(given) > 1 or not (given or tried):
            self.findings.wrong("", "give exactly one of `models:`, `slices:` and `modules:`")
        if shape.modules is None:
            return [Module("", self._slices(shape, ""))]
        return [self._module(name, entry) for name, entry in shape.modules.items()]

    def _module(self, name: str, entry: StackDocument) -> Module:
        path = f"modules.{name}"
        tried = self.findings.blame(f"{path}.models", f"{path}.slices")
        if (entry.models is None) == (entry.slices is None) and not tried:
            self.findings.wrong(path, "give either `models:` or `slices:`, and not both")
        parameters = self._parameters(entry.parameters, f"{path}.parameters")
        return Module(name, self._slices(entry, f"{path}."), parameters)

    def _slices(self, stack: StackDocument, prefix: str) -> tuple[Slice, ...]:
        if stack.models:
            sources = (self._source(m, f"{prefix}models[{i}]") for i, m in enumerate(stack.models))
            return (Slice(tuple(sources)),)
        parts = enumerate(stack.slices or [])
        return tuple(self._slice(part, f"{prefix}slices[{i}]") for i, part in parts)

    def _slice(self, part: SliceDocument, path: str) -> Slice:
        self._note_keys(part, path)
        sources = (self._source(s, f"{path}.sources[{i}]") for i, s in enumerate(part.sources))
        base = self._base(part.base_model, f"{path}.base_model")
        parameters = self._parameters(part.parameters, f"{path}.parameters")
        return Slice(tuple(sources), base, parameters, part.input_scale)

    def _source(self, entry: InputDocument, path: str) -> Source:
        layers = entry.layer_range if isinstance(entry, SourceDocument) else None
        return Source(
            self._model(entry.model, f"{path}.model"),
            (layers[0], layers[1]) if layers else None,
            self._parameters(entry.parameters, f"{path}.parameters"),
        )

    def _base(
        self, model: str | ModelName | RecipeDocument | None, path: str
    ) -> str | Recipe | None:
        return None if model is None else self._model(model, path)

    def _model(self, model: str | ModelName | RecipeDocument, path: str) -> str | Recipe:
        """Return a reference, or the recipe that stands here or in another document."""
        found: str | Recipe | None = None
        if not isinstance(model, RecipeDocument):
            found = self.refer(self._name(model, path), path, self.findings)
        elif self.depth + 1 < DEEPEST:
            inside = self.findings.inside(path)
            found = replace(self, findings=inside, depth=self.depth + 1, count=0).build(model)
        else:
            self.findings.wrong(path, f"recipes may stand at most {DEEPEST} deep in each other")
        if not isinstance(found, Recipe):
            return found or ""
        return self._counted(found, path)

    def _counted(self, recipe: Recipe, path: str) -> str | Recipe:
        depth, size = _measure(recipe)
        self.count += size
        if depth + 1 > DEEPEST:
            self.findings.wrong(path, f"recipes may stand at most {DEEPEST} deep in each other")
        elif self.count > MOST_RECIPES:
            self.findings.wrong(path, f"a recipe may unfold to at most {MOST_RECIPES} others")
        else:
            return recipe
        return ""

    def _name(self, model: str | ModelName, path: str) -> str:
        """Return a reference in its short form, `path@revision+lora@revision`."""
        if isinstance(model, str):
            return model
        self._note_keys(model, path)
        return "+".join(_reference(part) for part in (model.model, model.lora) if part)

    def _tokenizer(self, shape: RecipeDocument) -> Tokenizer | None:
        long = shape.tokenizer
        if long is None:
            if not shape.tokenizer_source:
                return None
            return Tokenizer(self._vocabulary(shape.tokenizer_source, "tokenizer_source"))
        if shape.tokenizer_source is not None:
            self.findings.wrong("tokenizer", "give `tokenizer:` or `tokenizer_source:`, not both")
        tokens = {
            token: self._token(entry, f"tokenizer.tokens.{token}.source")
            for token, entry in (long.tokens or {}).items()
        }
        source = self._vocabulary(long.source, "tokenizer.source")
        return Tokenizer(source, tuple(tokens.items()), long.pad_to_multiple_of)

    def _vocabulary(self, model: str | ModelName, path: str) -> str:
        return self._name(model, path).removeprefix("model:")

    def _token(self, entry: TokenDocument, path: str) -> TokenSource:
        source = entry.source
        if not isinstance(source, TokenOrigin):
            return TokenSource("model", self._name(source, path), force=entry.force)
        model = self._name(source.model, f"{path}.model") if source.model is not None else None
        if message := _complain(source):
            self.findings.wrong(path, message)
        return TokenSource(source.kind, model, source.token, source.token_id, entry.force)

    def _check_tokenizer(self, recipe: Recipe, key: str) -> None:
        """Refuse documents that a tokenizer names and no model does: they would not be merged."""
        if recipe.tokenizer is None:
            return
        merged = {part.name for part in recipe.recipes}
        named = [recipe.tokenizer.source, *(s.model for _, s in recipe.tokenizer.tokens)]
        for name in dict.fromkeys(named):
            if name in self.documents and name not in merged | {"union", "base"}:
                self.findings.wrong(key, f"{name!r} is a document that this recipe does not merge")

    def _note_keys(self, shape: BaseModel, path: str) -> None:
        for key in sorted(shape.model_fields_set & WITHOUT_EFFECT.keys()):
            where = f"{path}.{key}" if path else key
            self.findings.warn(where, f"has no effect: {WITHOUT_EFFECT[key]}")

    def _parameters(self, raw: Mapping[str, Any] | None, path: str) -> Parameters:
        schedules: dict[str, Schedule] = {}
        for name, value in (raw or {}).items():
            try:
                if value is not None:
                    schedules[name] = self._flags(name, read_schedule(value))
            except ValueError as error:
                self.findings.wrong(f"{path}.{name}", str(error))
        return freeze_parameters(schedules)

    def _flags(self, name: str, schedule: Schedule) -> Schedule:
        """Read 0 and 1 as flags where a parameter is one: a gradient of flags has no 0.5."""
        known = self.spec.parameters.get(name) if self.spec else None
        return schedule.as_flags() if known and bool in known.kinds else schedule


def _reference(part: ModelPath | str) -> str:
    if isinstance(part, str):
        return part
    return f"{part.path}@{part.revision}" if part.revision else part.path


def _complain(origin: TokenOrigin) -> str:
    """Say what is wrong with a token's origin; empty when nothing is."""
    given = [key for key in ("token", "token_id") if getattr(origin, key) is not None]
    if origin.kind == "zero":
        return "kind zero takes nothing beside it" if given or origin.model is not None else ""
    if origin.model is None or len(given) != 1:
        return "kind model_token needs a model, and either token or token_id"
    return ""


def _measure(recipe: Recipe) -> tuple[int, int]:
    """Return how deep a recipe's sub-recipes go, itself counted, and how many it unfolds to."""
    inner = [_measure(part) for part in recipe.named() if isinstance(part, Recipe)]
    return 1 + max((d for d, _ in inner), default=0), 1 + sum(size for _, size in inner)
