"""From a recipe to its plan.

Only headers are read. Everything that cannot work is found here, all at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from evomerge.checkpoints.architecture import (
    Layout,
    is_head,
    is_optional,
    is_tied,
)
from evomerge.engine.configuration import write_configuration
from evomerge.engine.findings import Findings
from evomerge.engine.ingredients import Ingredient
from evomerge.engine.models import Models
from evomerge.engine.parameters import idle_filters, settle
from evomerge.engine.plan import COPIED, FLOATING, Input, Plan, TensorPlan, main_dtype, promote
from evomerge.engine.vocabulary import Vocabularies
from evomerge.errors import CheckpointError, InvalidDocument
from evomerge.methods import METHODS
from evomerge.recipe.check import inputs_of
from evomerge.recipe.model import Module, Recipe, Slice, Source
from evomerge.registry import suggest


@dataclass(frozen=True, slots=True)
class Liberties:
    """What a user may ask for against good sense.

    Attributes:
        mixed_architectures: models of different kinds are merged where their tensors fit.
        truncate_embeddings: rows beyond the smallest vocabulary are dropped.
    """

    mixed_architectures: bool = False
    truncate_embeddings: bool = False


def make_plan(
    recipe: Recipe, models: Models, *, seed: int = 0, liberties: Liberties | None = None
) -> Plan:
    """Plan a merge.

    Raises:
        RecipeError: layers, tensors, shapes or dtypes do not fit; every problem is listed.
        CheckpointError: a model cannot be opened.
    """
    return _Planner(recipe, models, seed, liberties or Liberties()).plan()


class _Planner:
    """Carries the state of planning: the recipe, what it merges, and the problems found so far."""

    def __init__(self, recipe: Recipe, models: Models, seed: int, liberties: Liberties) -> None:
        self.recipe, self.models, self.seed, self.liberties = recipe, models, seed, liberties
        self.spec = METHODS.get(recipe.method)
        self.findings = Findings(f"merge of {', '.join(recipe.models)}")
        self.ingredients: dict[str | Recipe, Ingredient] = {}

    def plan(self) -> Plan:
        self._open_all()
        self._check_architectures()
        sections = self._sections()
        self.findings.stop()
        for layout, section in sections:
            self._check_layers(layout, section)
        self.findings.stop()
        self.vocabularies = Vocabularies(
            self.recipe, self.ingredients, self.reference, self.models, self.findings,
            truncate=self.liberties.truncate_embeddings,
        )  # fmt: skip
        self.findings.stop()
        tensors = tuple(t for pair in sections for t in self._module(*pair))
        self._check_extras({t.name for t in tensors})
        self.findings.stop()
        config = self._config(tensors, sections)
        self.findings.stop()
        warnings = (*self.vocabularies.warnings, *idle_filters(self.recipe, tensors))
        return Plan(
            self.recipe, self.spec, tensors, config, self.vocabularies.files,
            self.seed, warnings,
        )  # fmt: skip

    @property
    def reference(self) -> str | Recipe:
        """Return the model whose names, config and tokenizer the result has."""
        first = self.recipe.sections[0].slices[0]
        return self.recipe.base_model or first.base_model or first.sources[0].model

    def _open_all(self) -> None:
        failed: list[CheckpointError] = []
        for model in self.recipe.inputs:
            try:
                self.ingredients[model] = self._open(model)
            except CheckpointError as error:
                failed.append(error)
            except InvalidDocument as error:
                for problem in error.problems:
                    self.findings.wrong(problem.path, problem.message)
        if len(failed) == 1 and not self.findings.problems:
            raise failed[0]
        for one in failed:
            self.findings.wrong("", str(one))
        self.findings.stop()

    def _open(self, model: str | Recipe) -> Ingredient:
        if isinstance(model, Recipe):
            plan = make_plan(model, self.models, seed=self.seed, liberties=self.liberties)
            folder = plan.tokenizer.materialise(self.models)
            tensors = {tensor.name: tensor for tensor in plan.tensors}
            return Ingredient(model.name or "a sub-recipe", plan.config, tensors, folder)
        ingredient = self.models.ingredient(model)
        if ingredient.config.get("quantization_config"):
            raise CheckpointError(f"{model} is quantized", "Give the unquantized model")
        return ingredient

    def _check_architectures(self) -> None:
        if self.liberties.mixed_architectures:
            return
        kinds = {str(i.config.get("model_type", "")): i.label for i in self.ingredients.values()}
        if len(kinds) > 1:
            told = ", ".join(f"{label} is {kind or 'nameless'}" for kind, label in kinds.items())
            self.findings.wrong(
                "", f"the models differ in architecture: {told}; --allow-crimes merges what fits"
            )

    def _sections(self) -> list[tuple[Layout, Module | None]]:
        """Pair each module of the reference with what the recipe says of it (None: it is taken)."""
        layouts = self.ingredients[self.reference].modules
        named = {module.name: module for module in self.recipe.modules}
        known = [layout.module for layout in layouts]
        for name in named.keys() - set(known):
            hint = suggest(name, known) or f"; it has {', '.join(known)}"
            self.findings.wrong(f"modules.{name}", f"the models have no module {name!r}{hint}")
        if named:
            return [(layout, named.get(layout.module)) for layout in layouts]
        deep = [layout.module for layout in layouts if layout.layers]
        if not self.recipe.merges_whole_models and len(deep) > 1:
            self.findings.wrong(
                "slices", f"the models have several stacks: name them, `modules:` {', '.join(deep)}"
            )
        whole = Module("", self.recipe.slices)
        return [(layout, whole) for layout in layouts]

    def _check_layers(self, layout: Layout, section: Module | None) -> None:
        for index, part in enumerate(section.slices if section else ()):
            assert section is not None
            path = f"modules.{section.name}." * bool(section.name)
            path += "models" if section.merges_whole_models else f"slices[{index}]"
            lengths = {}
            for place, source in enumerate(part.sources):
                label, count = self._count_layers(source.model, layout)
                first, last = source.layers or (0, count)
                lengths[label] = last - first
                if last > count:
                    where = f"{path}.sources[{place}].layer_range"
                    self.findings.wrong(
                        where, f"[{first}, {last}] goes beyond {label}'s {count} layers"
                    )
            if len(set(lengths.values())) > 1 and section.merges_whole_models:
                told = ", ".join(f"{label} has {count}" for label, count in lengths.items())
                self.findings.wrong(path, f"the models differ in their number of layers: {told}")

    def _count_layers(self, model: str | Recipe, layout: Layout) -> tuple[str, int]:
        found = self.ingredients[model].layout(layout.module)
        return self._label(model), found.layers if found else 0

    def _module(self, layout: Layout, section: Module | None) -> Iterator[TensorPlan]:
        if section is None:
            yield from self._taken(layout)
            return
        slices = section.slices
        lengths = [self._length(part, layout) for part in slices]
        for name in layout.before:
            yield from self._whole(section, slices[0], name, 0.0)
        offset, deepest = 0, max(1, sum(lengths) - 1)
        for part, length in zip(slices, lengths, strict=True):
            for step in range(length):
                t = step / (length - 1) if length > 1 else 1.0
                depths = (t, (offset + step) / deepest)
                yield from self._layer(section, part, layout, (offset + step, step), depths)
            offset += length
        for name in (*layout.after, *self._untied_heads(layout)):
            yield from self._whole(section, slices[-1], name, 1.0)

    def _length(self, part: Slice, layout: Layout) -> int:
        source = part.sources[0]
        first, last = source.layers or (0, self._count_layers(source.model, layout)[1])
        return last - first

    def _taken(self, layout: Layout) -> Iterator[TensorPlan]:
        """Plan a module that the recipe does not speak of: it is the reference's."""
        home = self.ingredients[self.reference]
        layers = (layout.name(i, p) for i in range(layout.layers) for p in layout.parts)
        for name in (*layout.before, *layers, *layout.after):
            if name in home.tensors:
                yield self._copy(name, home.tensors[name])

    def _untied_heads(self, layout: Layout) -> list[str]:
        """Return heads that the reference ties to its embedding and another model does not."""
        home = self.ingredients[self.reference]
        if layout is not home.modules[0] or not is_tied(home.config):
            return []
        if any(is_head(name) for name in home.tensors):
            return []
        untied = [i for i in self.ingredients.values() if not is_tied(i.config)]
        return sorted({name for i in untied for name in i.tensors if is_head(name)})

    def _whole(self, section: Module, part: Slice, name: str, depth: float) -> Iterator[TensorPlan]:
        """Plan a tensor outside the layers: it has the same name in every model.

        Gradients give it their first value, head and final norm included, as mergekit does.
        """
        sources, base = inputs_of(self.recipe, part, self.spec)
        wanted = [(source.model, name) for source in sources]
        origin = (base, name) if base else None
        yield from self._tensor((section, part, sources), name, wanted, origin, (0.0, depth))

    def _layer(
        self,
        section: Module,
        part: Slice,
        layout: Layout,
        place: tuple[int, int],
        depths: tuple[float, float],
    ) -> Iterator[TensorPlan]:
        index, step = place
        sources, base = inputs_of(self.recipe, part, self.spec)
        leader = (sources or list(part.sources))[0]
        lead = next((s for s in part.sources if s.model == base), leader)  # the base's own range
        at = (lead.layers or (0, 0))[0] + step
        home = self.ingredients[base or leader.model]
        for piece in layout.parts:
            if home.find(layout.name(at, piece)) is None:
                continue  # layers need not be alike: some have parts that others lack
            wanted = [
                (s.model, layout.name((s.layers or (0, 0))[0] + step, piece)) for s in sources
            ]
            origin = (base, layout.name(at, piece)) if base else None
            name = layout.name(index, piece)
            yield from self._tensor((section, part, sources), name, wanted, origin, depths)

    def _tensor(
        self,
        scope: tuple[Module, Slice, list[Source]],
        name: str,
        wanted: list[tuple[str | Recipe, str]],
        base: tuple[str | Recipe, str] | None,
        depths: tuple[float, float],
    ) -> Iterator[TensorPlan]:
        found = [self._find(model, tensor) for model, tensor in wanted]
        origin = self._find(*base) if base else None
        everyone = [*([origin] if base else []), *found]
        if None in everyone or not everyone:
            yield from self._lacking(name, [*([base] if base else []), *wanted], everyone)
            return
        owners = [model for model, _ in ([base] if base else []) + wanted]
        moved = self.vocabularies.move(name, owners, [tensor for tensor in everyone if tensor])
        if not self._fits(name, owners, moved):
            return
        start, inputs = (moved[0], moved[1:]) if base else (None, moved)
        dtype, copied = self._dtype(name, owners, moved)
        values = {} if copied else settle(self.recipe, self.spec, scope, name, inputs, depths[0])
        plan = TensorPlan(
            name,
            dtype,
            self.spec,
            tuple(inputs or moved),
            start,
            values,
            self.seed,
            depths[1],
            copied,
        )
        as_it_is = values.get("scale", 0) == (None,) and inputs[0].dtype == dtype
        yield replace(plan, copied=True) if as_it_is else plan

    def _find(self, model: str | Recipe, name: str) -> Input | None:
        return self.ingredients[model].find(name)

    def _lacking(
        self, name: str, wanted: list[tuple[str | Recipe, str]], found: list[Input | None]
    ) -> Iterator[TensorPlan]:
        """Where a model lacks a tensor: one that it may lack is copied from those that have it."""
        present = next((tensor for tensor in found if tensor is not None), None)
        if present and is_optional(name, self.ingredients[self.reference].config):
            yield self._copy(name, present)
            return
        for (model, tensor), one in zip(wanted, found, strict=False):
            if one is None:
                self.findings.wrong("", f"{self._label(model)} lacks tensor {tensor}")

    def _copy(self, name: str, tensor: Input) -> TensorPlan:
        dtype, _ = self._dtype(name, [self.reference], [tensor])
        spec = METHODS.get("passthrough")
        values: Mapping[str, Any] = {"scale": (None,)}
        copied = dtype == tensor.dtype
        return TensorPlan(name, dtype, spec, (tensor,), None, values, self.seed, 0.0, copied)

    def _fits(self, name: str, owners: list[str | Recipe], tensors: list[Input]) -> bool:
        shapes: dict[tuple[int, ...], str] = {}
        for owner, tensor in zip(owners, tensors, strict=True):
            shapes.setdefault(tensor.shape, self._label(owner))
        if len(shapes) > 1:
            told = " but ".join(f"{list(shape)} in {label}" for shape, label in shapes.items())
            hint = self.vocabularies.hint(name, list(shapes))
            self.findings.wrong("", f"{name} is {told}{hint}")
        return len(shapes) == 1

    def _dtype(
        self, name: str, owners: list[str | Recipe], tensors: list[Input]
    ) -> tuple[str, bool]:
        codes = {tensor.dtype for tensor in tensors}
        if codes <= set(FLOATING):
            return promote(codes, self.recipe.out_dtype or self.recipe.dtype), False
        for owner, tensor in zip(owners, tensors, strict=False):
            if tensor.dtype not in (*FLOATING, *COPIED):
                self.findings.wrong(
                    "",
                    f"{name} in {self._label(owner)} has dtype {tensor.dtype}: "
                    "quantized weights cannot be merged",
                )
        return tensors[0].dtype, True

    def _label(self, model: str | Recipe) -> str:
        return self.ingredients[model].label

    def _check_extras(self, planned: set[str]) -> None:
        if not all(section.merges_whole_models for section in self.recipe.sections):
            return
        home = self.ingredients[self.reference]
        for model, ingredient in self.ingredients.items():
            extra = [
                name
                for name in ingredient.tensors
                if name not in planned
                and home.find(name) is None
                and not is_optional(name, ingredient.config)
            ]
            if extra:
                more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
                self.findings.wrong(
                    "", f"{self._label(model)} has tensor {extra[0]}{more}, which "
                    f"{self._label(self.reference)} lacks",
                )  # fmt: skip

    def _config(
        self, tensors: tuple[TensorPlan, ...], sections: list[tuple[Layout, Module | None]]
    ) -> dict[str, Any]:
        try:
            config = write_configuration(self.ingredients, self.reference, sections)
        except CheckpointError as error:
            self.findings.wrong("slices", str(error))
            return {}
        home = self.ingredients[self.reference]
        if self._untied_heads(home.modules[0]):
            config["tie_word_embeddings"] = False
        config["dtype"] = main_dtype(tensors)
        home = self.ingredients[self.reference]
        if any(is_head(t.name) and t.name not in home.tensors for t in tensors):
            _untie(config)
        return self.vocabularies.describe(config)


def _untie(config: dict[str, Any]) -> None:
    """Make the config say that head and embedding are two tensors."""
    config["tie_word_embeddings"] = False
    if "tie_word_embeddings" in (config.get("text_config") or {}):
        config["text_config"]["tie_word_embeddings"] = False
