"""The tensors of a result: which tensors of which ingredients make up each of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from evomerge.checkpoints.architecture import Layout, is_head, is_optional, is_tied
from evomerge.engine.findings import Findings
from evomerge.engine.ingredients import Ingredient
from evomerge.engine.parameters import own_name, settle
from evomerge.engine.plan import COPIED, FLOATING, Input, TensorPlan, promote
from evomerge.engine.vocabulary import Vocabularies
from evomerge.methods import METHODS, MethodSpec
from evomerge.recipe.check import inputs_of
from evomerge.recipe.model import Module, Recipe, Slice, Source

Model = str | Recipe
AS_IT_IS: Mapping[str, Any] = {"scale": (None,), "shift": (None,)}
"""The parameters of passthrough with which a tensor stays as it is."""

Wanted = list[tuple[Model, str]]
"""What is looked for: the tensor of that name, of that ingredient."""


@dataclass(frozen=True)
class Assembly:
    """Plans tensor after tensor.

    Attributes:
        recipe: what is planned.
        spec: its method.
        ingredients: what it merges.
        reference: whose names the result has.
        vocabularies: what becomes of tensors with a row per token.
        findings: told of every problem.
        seed: of random masks.
    """

    recipe: Recipe
    spec: MethodSpec
    ingredients: Mapping[Model, Ingredient]
    reference: Model
    vocabularies: Vocabularies
    findings: Findings
    seed: int

    def module(self, layout: Layout, section: Module | None) -> Iterator[TensorPlan]:
        """Yield the tensors of one module; without a section, those of the reference."""
        if section is None:
            yield from self._taken(layout)
            return
        slices = section.slices
        lengths = [self._length(part, layout) for part in slices]
        for name in layout.before:
            yield from self._whole(section, slices[0], name)
        offset, deepest = 0, max(1, sum(lengths) - 1)
        for part, length in zip(slices, lengths, strict=True):
            for step in range(length):
                t = step / (length - 1) if length > 1 else 1.0
                depths = (t, (offset + step) / deepest)
                yield from self._layer(section, part, layout, (offset + step, step), depths)
            offset += length
        untied = self._untied_heads(layout, slices[-1])
        for name in () if untied else self._named_heads(layout, slices[0]):
            yield from self._whole(section, slices[0], name)
        for name in (*layout.after, *untied):
            yield from self._whole(section, slices[-1], name)

    def _length(self, part: Slice, layout: Layout) -> int:
        source = part.sources[0]
        first, last = source.layers or (0, self._count_layers(source.model, layout))
        return last - first

    def _count_layers(self, model: Model, layout: Layout) -> int:
        found = self.ingredients[model].layout(layout.module)
        return found.layers if found else 0

    def _taken(self, layout: Layout) -> Iterator[TensorPlan]:
        """Plan a module that the recipe does not speak of: it is the reference's."""
        home = self.ingredients[self.reference]
        layers = (layout.name(i, p) for i in range(layout.layers) for p in layout.parts)
        for name in (*layout.before, *layers, *layout.after):
            if name in home.tensors:
                yield self._copy(name, home.tensors[name])

    def _untied_heads(self, layout: Layout, last: Slice) -> list[str]:
        """Return heads that the reference ties to its embedding, and a model at the end does not.

        A model that is not part of the last slice has no part in the head.
        """
        if not self._is_tied(layout):
            return []
        sources, base = inputs_of(self.recipe, last, self.spec)
        there = [*(source.model for source in sources), *([base] if base else [])]
        untied = [i for i in map(self.ingredients.__getitem__, there) if not is_tied(i.config)]
        return sorted({name for i in untied for name in i.tensors if is_head(name)})

    def _named_heads(self, layout: Layout, first: Slice) -> list[str]:
        """Return tied heads that a filter of the first slice names for themselves.

        So a passthrough says that the embedding is scaled, and the head that was tied to it not.
        """
        if not self._is_tied(layout) or self.spec.max_models != 1:
            return []
        rules = (rule for _, schedule in first.parameters for rule in schedule.rules)
        return list(dict.fromkeys(r.filter for r in rules if r.filter and is_head(r.filter)))

    def _is_tied(self, layout: Layout) -> bool:
        """Tell whether the reference has an embedding for a head, in this module."""
        home = self.ingredients[self.reference]
        tied = layout is home.modules[0] and is_tied(home.config)
        return tied and not any(is_head(name) for name in home.tensors)

    def _whole(self, section: Module, part: Slice, name: str) -> Iterator[TensorPlan]:
        """Plan a tensor outside the layers: it has the same name in every model.

        Gradients give it their first value, head and final norm included, as mergekit does.
        """
        sources, base = inputs_of(self.recipe, part, self.spec)
        wanted = [(source.model, name) for source in sources]
        origin = (base, name) if base else None
        yield from self._tensor((section, part, sources), name, wanted, origin, (0.0, 0.0))

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
            first = _is_of_first(home, layout, piece)
            if home.find(layout.name(0 if first else at, piece)) is None or (first and index):
                continue  # layers need not be alike: some have parts that others lack
            wanted = [
                (s.model, layout.name(0 if first else (s.layers or (0, 0))[0] + step, piece))
                for s in sources
            ]
            origin = (base, layout.name(0 if first else at, piece)) if base else None
            name = layout.name(index, piece)
            yield from self._tensor((section, part, sources), name, wanted, origin, depths)

    def _tensor(
        self,
        scope: tuple[Module, Slice, list[Source]],
        name: str,
        wanted: Wanted,
        base: tuple[Model, str] | None,
        depths: tuple[float, float],
    ) -> Iterator[TensorPlan]:
        wanted = [*([base] if base else []), *wanted]
        found = [self.ingredients[model].find(tensor) for model, tensor in wanted]
        present = [tensor for tensor in found if tensor is not None]
        if len(present) < len(found) or not found:
            yield from self._lacking(name, wanted, found)
            return
        owners = [model for model, _ in wanted]
        moved = self.vocabularies.move(name, owners, present)
        if not self._fits(name, owners, moved):
            return
        start, inputs = (moved[0], moved[1:]) if base else (None, moved)
        dtype, copied = self._dtype(name, owners, moved)
        names = [name if is_head(name) else own_name(node, name) for node in inputs]
        values = {} if copied else settle(self.recipe, self.spec, scope, name, names, depths[0])
        plan = TensorPlan(
            name, dtype, self.spec, tuple(inputs or moved), start, values, self.seed, depths[1],
            copied,
        )  # fmt: skip
        as_it_is = values == AS_IT_IS and moved[0].dtype == dtype
        yield replace(plan, copied=True) if as_it_is else plan

    def _lacking(
        self, name: str, wanted: Wanted, found: list[Input | None]
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
        copied = dtype == tensor.dtype
        return TensorPlan(name, dtype, spec, (tensor,), None, AS_IT_IS, self.seed, 0.0, copied)

    def _fits(self, name: str, owners: list[Model], tensors: list[Input]) -> bool:
        shapes: dict[tuple[int, ...], str] = {}
        for owner, tensor in zip(owners, tensors, strict=True):
            shapes.setdefault(tensor.shape, self._label(owner))
        if len(shapes) > 1:
            told = " but ".join(f"{list(shape)} in {label}" for shape, label in shapes.items())
            hint = self.vocabularies.hint(name, list(shapes))
            self.findings.wrong("", f"{name} is {told}{hint}")
        return len(shapes) == 1

    def _dtype(self, name: str, owners: list[Model], tensors: list[Input]) -> tuple[str, bool]:
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

    def _label(self, model: Model) -> str:
        return self.ingredients[model].label


def _is_of_first(home: Ingredient, layout: Layout, piece: str) -> bool:
    """Tell whether only the first layer has a part, whichever layer that is: T5's position bias."""
    if layout.layers < 3 or layout.name(0, piece) not in home.tensors:
        return False
    return not any(layout.name(layer, piece) in home.tensors for layer in range(1, layout.layers))
