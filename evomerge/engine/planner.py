"""From a recipe to its plan.

Only headers are read. Everything that cannot work is found here, all at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evomerge.checkpoints.architecture import (
    Layout,
    is_head,
    is_optional,
    is_tied,
)
from evomerge.checkpoints.likeness import find_misfits, find_numbered, find_unlike
from evomerge.engine.assembly import Assembly
from evomerge.engine.bake import bake
from evomerge.engine.configuration import write_configuration
from evomerge.engine.findings import Findings
from evomerge.engine.ingredients import Ingredient
from evomerge.engine.models import Models
from evomerge.engine.parameters import idle_filters
from evomerge.engine.plan import Plan, TensorPlan, main_dtype
from evomerge.engine.vocabulary import Vocabularies
from evomerge.errors import CheckpointError, InvalidDocument, RecipeError
from evomerge.methods import METHODS
from evomerge.recipe.model import Module, Recipe
from evomerge.recipe.path import has_scales, is_path
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
        self.warnings: tuple[str, ...] = ()

    def plan(self) -> Plan:
        self._open_all()
        self._check_architectures()
        asked = self.recipe
        self._settle_path()
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
        assembly = Assembly(
            self.recipe, self.spec, self.ingredients, self.reference, self.vocabularies,
            self.findings, self.seed,
        )  # fmt: skip
        tensors = tuple(tensor for pair in sections for tensor in assembly.module(*pair))
        self._check_extras({t.name for t in tensors})
        self.findings.stop()
        config = self._config(tensors, sections)
        self.findings.stop()
        warnings = (
            *self.warnings, *self.vocabularies.warnings, *idle_filters(self.recipe, tensors)
        )  # fmt: skip
        if any(tensor.dtype == "F64" and not tensor.copied for tensor in tensors):
            warnings += ("float64 tensors are merged in float32: about 7 digits are right",)
        return Plan(
            self.recipe, self.spec, tensors, config, self.vocabularies.files,
            self.seed, warnings, asked if asked != self.recipe else None,
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

    def _settle_path(self) -> None:
        """Check a path before anything else, and turn its input scales into factors of weights."""
        if self.findings.problems or not is_path(self.recipe):
            return
        configs = [(i.label, i.config) for i in self.ingredients.values()]
        unlike = find_unlike(configs)
        ranges = [part.sources[0].layers or (0, 0) for part in self.recipe.slices]
        if ranges[0][0] != 0 or any(end != first for (_, end), (first, _) in pairwise(ranges)):
            self._refuse(find_numbered(configs))
        ends = [self.ingredients[self.recipe.slices[k].sources[0].model] for k in (0, -1)]
        first, last = (end.config.get("vocab_size") for end in ends)
        if first != last and not all(is_tied(end.config) for end in ends):
            self.findings.wrong(
                "slices", f"the path begins in {ends[0].label}, which has {first} tokens, and ends "
                f"in {ends[1].label}, which has {last}: let it end where it begins",
            )  # fmt: skip
        elif has_scales(self.recipe):
            self._refuse(unlike)
            self._bake()
        else:
            if not self.liberties.mixed_architectures:
                self._refuse(find_misfits(configs))
            self.warnings = tuple(unlike)

    def _refuse(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.findings.wrong("slices", line)

    def _bake(self) -> None:
        try:
            self.recipe = bake(self.recipe, self.ingredients)
        except RecipeError as error:
            for problem in error.problems:
                self.findings.wrong(problem.path, problem.message)

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
