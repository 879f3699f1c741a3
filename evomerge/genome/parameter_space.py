"""Parameter space (Akiba et al., 2024): one value per layer group, component and model.

https://arxiv.org/abs/2403.13187

For every parameter of the merge method that is sought (`sought.py`) there is one gene per layer
group × component × model (× nothing, for parameters that all models share). Embeddings and head
are groups of their own. A genome decodes to a Recipe in mergekit's dialect.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from evomerge.checkpoints.architecture import Layout
from evomerge.errors import ConfigError, Problem
from evomerge.genome.groups import (
    Group,
    check_filters,
    group_layers,
    group_outer,
    name_components,
)
from evomerge.genome.sought import (
    Ranges,
    Sought,
    check_limits,
    check_ranges,
    find_sought,
    genome_values,
)
from evomerge.genome.starting_points import begin_at, find_known, find_value, usual_place
from evomerge.methods import METHODS
from evomerge.methods.spec import MISSING
from evomerge.recipe.model import Recipe, Slice, Source, freeze_parameters
from evomerge.recipe.schedule import Rule, Schedule, Value, constant, is_number
from evomerge.recipe.tokenizer import Tokenizer
from evomerge.space import Choice, Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Slot = tuple[Sought, int | None, Group, str]
"""What a gene stands for: a parameter, of a model or of all, in a group, in a component of it."""


class ParameterSpace:
    """The genome of a parameter-space search.

    Args:
        models: what is merged, in order; the base need not be among them.
        method: a merge method with parameters to search.
        layout: of the models.
        base_model: for methods that need one.
        layer_granularity: layers per group; 0 puts all layers into one.
        filters: component name -> parts of tensor names; tensors that match none get genes of
            their own. Empty: all tensors of a layer share their genes.
        own_embeddings: whether embeddings and head have genes of their own; otherwise they
            follow the first and the last layer group (with `smooth`, both the first).
        allow_negative_weights: whether weights are sought in [-high, high].
        smooth: whether values are interpolated between layer groups.
        ranges: parameter name -> (low, high), or the choices of a parameter that is no number;
            instead of the method's own, and for parameters it would not seek.
        parameters: fixed parameters, by name; they get no genes.
        dtype: of the merged model.
        tokenizer_source: as in recipes.
        around: a merge of the same models by the same method, with other groups: every gene begins
            at the value that is in the middle of its group there. Without it points that people
            try first are the space's `known`.

    Attributes:
        parents: what is merged, without the base of methods that have one.

    Raises:
        ConfigError: nothing to search, or a range the method does not allow.
    """

    def __init__(  # noqa: PLR0913 - the genome's settings, as mergekit-evolve names them
        self,
        models: Sequence[str],
        method: str,
        layout: Layout,
        *,
        base_model: str | None = None,
        layer_granularity: int = 0,
        filters: Mapping[str, Sequence[str]] | None = None,
        own_embeddings: bool = True,
        allow_negative_weights: bool = False,
        smooth: bool = False,
        ranges: Ranges | None = None,
        parameters: Mapping[str, Value] | None = None,
        dtype: str | None = None,
        tokenizer_source: str | None = None,
        around: Recipe | None = None,
    ) -> None:
        self.spec = METHODS.get(method)
        self.models = tuple(models)
        self.base_model = base_model
        self.smooth = smooth
        self._fixed = dict(parameters or {})
        self._dtype = dtype
        self._tokenizer = Tokenizer(tokenizer_source) if tokenizer_source else None
        self.layer_groups = group_layers(layout, layer_granularity)
        self._outer_groups = group_outer(layout) if own_embeddings else []
        self.components = name_components(layout, filters or {})
        self.parents = [m for m in self.models if self.spec.base == "none" or m != base_model]
        problems = [*check_ranges(self.spec, ranges or {}, self._fixed)]
        problems += check_filters(layout, filters or {})
        if not self.parents:
            problems.append(Problem("genome.models", "there is no model besides the base"))
        self._sought: list[Sought] = []
        if not problems:
            self._seek(ranges or {}, allow_negative_weights, problems)
        if problems:
            raise ConfigError("genome", problems)
        genes = [self._gene(slot, around, layout.layers) for slot in self.slots()]
        self.space = SearchSpace(genes, known={} if around else self._known(genes))

    def _seek(self, ranges: Ranges, negative: bool, problems: list[Problem]) -> None:
        self._sought = find_sought(self.spec, ranges, self._fixed, negative=negative)
        given = [*self._fixed, *(part.name for part in self._sought)]
        self._fixed |= genome_values(self.spec, given)
        problems += check_limits(self.spec, self._sought, self._fixed)
        if not self._sought:
            message = f"{self.spec.name} has nothing to search"
            problems.append(Problem("genome.merge_method", message))

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a recipe."""
        values = self._reconcile(self.space.decode(genome))
        whole = self.smooth or len(self.layer_groups) == 1
        slices = [self._whole(values)] if whole else self._slices(values)
        fixed = {name: constant(value) for name, value in self._fixed.items()}
        return Recipe(
            method=self.spec.name,
            slices=tuple(slices),
            base_model=self.base_model,
            parameters=freeze_parameters(fixed),
            dtype=self._dtype,
            tokenizer=self._tokenizer,
        )

    def slots(self) -> Iterator[Slot]:
        """Yield what the genes stand for, in their order."""
        for part in self._sought:
            for model in self._owners(part):
                for group, component in self._places():
                    yield part, model, group, component

    def _gene(self, slot: Slot, around: Recipe | None, layers: int) -> Gene:
        part, model, group, component = slot
        gene = part.gene(_gene_name(part.name, model, group.label, component))
        if around is None:
            return gene
        parts = self.components[component] if group.layers else group.tensors
        tensor = parts[0] if parts else ""  # that no filter matches
        return begin_at(gene, find_value(around, part.name, model, group.middle, tensor, layers))

    def _known(self, genes: Sequence[Gene]) -> "dict[str, Genome]":
        """Return the points that people try first."""
        found = find_known(self.spec, self._sought, self._fixed, self.parents)
        slots = list(self.slots())
        return {
            name: np.array(
                [
                    gene.place(weights[model])
                    if part.name == "weight" and model is not None
                    else usual_place(gene, part)
                    for gene, (part, model, _, _) in zip(genes, slots, strict=True)
                ]
            )
            for name, weights in found.items()
        }

    def _owners(self, part: Sought) -> Sequence[int | None]:
        return range(len(self.parents)) if part.parameter.per_model else [None]

    def _places(self) -> Iterator[tuple[Group, str]]:
        for group in [*self._outer_groups, *self.layer_groups]:
            for component in self.components if group.layers else [""]:
                yield group, component

    def _reconcile(self, values: dict[str, Choice]) -> dict[str, Choice]:
        """Move values that the method does not take together to the nearest that it does."""
        if self.spec.limits is None:
            return values
        parameters = self.spec.parameters.items()
        known = {n: p.default for n, p in parameters if p.default is not MISSING} | self._fixed
        for model, (group, component) in product(range(len(self.parents)), self._places()):
            names = {
                part.name: _gene_name(
                    part.name, model if part.parameter.per_model else None, group.label, component
                )
                for part in self._sought
            }
            for choices in self._neighbours():
                one = known | {name: values[gene] for name, gene in names.items()} | choices
                found = self.spec.reconcile(one)
                values |= {gene: found[n] for n, gene in names.items() if n not in choices}
        return values

    def _neighbours(self) -> Iterator[dict[str, Choice]]:
        """Between groups that differ in a choice, smooth numbers must be good with each."""
        parts = [part for part in self._sought if part.choices] if self.smooth else []
        for choices in product(*(part.choices for part in parts)):
            yield {part.name: choice for part, choice in zip(parts, choices, strict=True)}

    def _whole(self, values: Mapping[str, Choice]) -> Slice:
        groups = self.layer_groups
        sources = [
            Source(model, None, self._parameters(values, k, groups, self._outer_groups))
            for k, model in enumerate(self.parents)
        ]
        return Slice(
            tuple(sources), None, self._parameters(values, None, groups, self._outer_groups)
        )

    def _slices(self, values: Mapping[str, Choice]) -> list[Slice]:
        slices = []
        last = len(self.layer_groups) - 1
        for place, group in enumerate(self.layer_groups):
            outer = self._outer_groups if place in (0, last) else []
            sources = [
                Source(model, group.layers, self._parameters(values, k, [group], outer))
                for k, model in enumerate(self.parents)
            ]
            shared = self._parameters(values, None, [group], outer)
            slices.append(Slice(tuple(sources), None, shared))
        return slices

    def _parameters(
        self,
        values: Mapping[str, Choice],
        model: int | None,
        groups: Sequence[Group],
        outer: Sequence[Group],
    ) -> tuple[tuple[str, Schedule], ...]:
        schedules = {}
        for part in self._sought:
            if part.parameter.per_model != (model is not None):
                continue
            name = part.name
            rules = [
                Rule(tensor, (values[_gene_name(name, model, group.label, "")],))
                for group in outer
                for tensor in group.tensors
            ]
            schedules[name] = Schedule((*rules, *self._layer_rules(values, name, model, groups)))
        return freeze_parameters(schedules)

    def _layer_rules(
        self, values: Mapping[str, Choice], name: str, model: int | None, groups: Sequence[Group]
    ) -> list[Rule]:
        rules: list[Rule] = []
        last = list(self.components)[-1]
        for component, parts in self.components.items():
            found = [values[_gene_name(name, model, g.label, component)] for g in groups]
            found = found if is_number(found[0]) else _nearest(found)
            rules += [Rule(part, tuple(found)) for part in (parts if component != last else [None])]
        return rules


def _nearest(choices: list[Choice]) -> list[Choice]:
    """Spread choices so that each counts where it is nearest: a gradient keeps the last one met."""
    return [choices[(place + 1) // 2] for place in range(2 * len(choices) - 1)]


def _gene_name(parameter: str, model: int | None, group: str, component: str) -> str:
    owner = "" if model is None else f".{model}"
    return f"{parameter}{owner}/{group}{f'/{component}' if component else ''}"
