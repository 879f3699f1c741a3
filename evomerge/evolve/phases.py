"""The parts of a search: which genome each has, how much of the budget, and where it begins.

Paths whose scales differ from the first layer on share no computation. So a search for paths looks
for layers first, all scales 1, then for the scales of the best path: on a grid, then freely. A
search of both spaces looks for a merge first and then for paths through the winner and each of the
models, the winner first (Akiba et al., 2024, section 3.3: https://arxiv.org/abs/2403.13187).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

from evomerge.checkpoints.locate import display_name
from evomerge.config import GenomeSettings, RunConfig
from evomerge.engine import Models
from evomerge.errors import ConfigError, Problem
from evomerge.genome import (
    DataFlowSpace,
    DepthWiseSpace,
    JointSpace,
    ParameterSpace,
    PathScaleSpace,
)
from evomerge.genome.joint_space import MERGE
from evomerge.genome.pool import check_pool
from evomerge.recipe import Recipe
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

LAYERS, GRID = Fraction(1, 2), Fraction(1, 4)
"""Shares of a path's budget that go to its layers and to a grid of scales; free ones follow."""
MERGE_FIRST = Fraction(1, 2)
"""Share of the budget that goes to the merge, where paths follow."""


class Encoding(Protocol):
    """A search space whose points are recipes."""

    @property
    def space(self) -> SearchSpace:
        """The genes."""
        ...

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a recipe."""
        ...


@dataclass(frozen=True)
class Phase:
    """A part of a search.

    Attributes:
        name: what people call it; empty where a search has no other.
        share: of the budget.
        make: makes the genome, of the winner of the phase before it.
        after: number of the phase at whose winner this one begins; None where it begins afresh.
    """

    name: str
    share: Fraction
    make: Callable[[Recipe | None], Encoding]
    after: int | None = None


def plan_phases(config: RunConfig, models: Models) -> tuple[Phase, ...]:
    """Return the parts of a search in their order; reads the models' headers.

    Raises:
        ConfigError: layers of the models share no path, or the budget is too small.
    """
    genome = config.genome
    if genome.has_paths:
        _check_models(genome, models)
    phases = tuple(_plan(genome, models))
    if config.search.evaluations < len(phases):
        told = f"this search has {len(phases)} phases, each of which tries at least one candidate"
        raise ConfigError("run file", [Problem("search.evaluations", told)])
    return phases


def share_out(evaluations: int, phases: Sequence[Phase]) -> list[int]:
    """Divide a budget: at least one evaluation for each phase, and all are spent."""
    totals = accumulate((phase.share for phase in phases), initial=Fraction(0))
    budgets = [end - start for start, end in pairwise(round(evaluations * t) for t in totals)]
    while 0 in budgets:
        budgets[budgets.index(max(budgets))] -= 1
        budgets[budgets.index(0)] += 1
    return budgets


def build_parameter_space(genome: GenomeSettings, models: Models) -> ParameterSpace:
    """Make the genome of a merge; reads the models' headers."""
    assert genome.merge_method is not None
    return ParameterSpace(
        genome.models,
        genome.merge_method,
        models.layout(genome.base_model or genome.models[0]),
        base_model=genome.base_model,
        layer_granularity=genome.layer_granularity,
        filters=genome.components,
        own_embeddings=genome.own_embeddings,
        allow_negative_weights=genome.allow_negative_weights,
        smooth=genome.smooth,
        ranges=genome.ranges,
        parameters=genome.fixed,
        dtype=genome.dtype,
        tokenizer_source=genome.tokenizer_source,
    )


def _plan(genome: GenomeSettings, models: Models) -> Iterator[Phase]:
    depths: dict[str | Recipe, int] = {name: models.layout(name).layers for name in genome.models}
    if genome.space == "parameters":
        yield Phase("", Fraction(1), lambda _: build_parameter_space(genome, models))
    elif genome.space == "both":
        yield from _plan_both(genome, models, depths)
    else:
        yield from _plan_paths(genome, partial(_make_paths, genome, models, depths))


def _plan_both(
    genome: GenomeSettings, models: Models, depths: Mapping[str | Recipe, int]
) -> Iterator[Phase]:
    """Plan a merge, and then paths through the winner and each model."""
    merge = build_parameter_space(genome, models)
    own = models.layout(genome.base_model or genome.models[0]).layers
    yield Phase("parameters", MERGE_FIRST, lambda _: merge)
    share, number = (1 - MERGE_FIRST) / len(depths), 1

    def make(partner: str | Recipe, scaled: bool, winner: Recipe | None) -> Encoding:
        assert winner is not None
        return _build_paths(genome, {winner: own, partner: depths[partner]}, scaled=scaled)

    for partner in depths:
        found = _plan_paths(genome, partial(make, partner), share=share, first=number, after=0)
        for phase in found:
            yield replace(phase, name=f"{phase.name or 'paths'} with {display_name(str(partner))}")
            number += 1


def _plan_paths(
    genome: GenomeSettings,
    make: Callable[[bool, Recipe | None], Encoding],
    *,
    share: Fraction = Fraction(1),
    first: int = 0,
    after: int | None = None,
) -> Iterator[Phase]:
    """Plan a search for paths: in one part, or layers first and then scales.

    Args:
        genome: settings.
        make: makes the genome of the layers, with scales or without, of an earlier winner.
        share: of the budget.
        first: number of the first of these phases.
        after: number of the phase whose winner is on the paths.
    """
    if not genome.in_stages:
        yield Phase("", share, partial(make, genome.scales != "none"), after)
        return
    yield Phase("layers", share * LAYERS, partial(make, False), after)
    grid = tuple(genome.scale_grid)
    yield Phase("grid of scales", share * GRID, partial(_refine, genome, grid), first)
    rest = share * (1 - LAYERS - GRID)
    yield Phase("free scales", rest, partial(_refine, genome, ()), first + 1)


def _refine(genome: GenomeSettings, grid: tuple[float, ...], path: Recipe | None) -> PathScaleSpace:
    assert path is not None
    target, span = genome.input_scale_target, genome.scale_range
    return PathScaleSpace(path, target=target, scale_range=span, grid=grid)


def _make_paths(
    genome: GenomeSettings,
    models: Models,
    depths: Mapping[str | Recipe, int],
    scaled: bool,
    winner: Recipe | None,  # noqa: ARG001 - as phases call it
) -> Encoding:
    """Make the genome of paths through models, or through a merge of them, too."""
    if genome.space != "joint":
        return _build_paths(genome, depths, scaled=scaled)
    merge = build_parameter_space(genome, models)
    own = models.layout(genome.base_model or genome.models[0]).layers
    return JointSpace(merge, _build_paths(genome, {MERGE: own, **depths}, scaled=scaled))


def _build_paths(
    genome: GenomeSettings, pool: Mapping[str | Recipe, int], *, scaled: bool
) -> DataFlowSpace | DepthWiseSpace:
    if genome.space == "depth_wise":
        return DepthWiseSpace(
            pool,
            together=genome.together,
            skip=genome.skip,
            scaled=scaled,
            scale_range=genome.scale_range,
            target=genome.input_scale_target,
            dtype=genome.dtype,
        )
    _check_slots(genome, sum(pool.values()))
    return DataFlowSpace(
        pool,
        repeats=genome.repeats,
        scales=genome.scales if scaled else "none",
        scale_range=genome.scale_range,
        target=genome.input_scale_target,
        shortest=genome.shortest,
        longest=genome.longest,
        most_distinct=genome.most_distinct,
        dtype=genome.dtype,
    )


def _check_slots(genome: GenomeSettings, layers: int) -> None:
    expected = layers * genome.repeats
    if genome.slots not in (None, expected):
        times = "repeat" if genome.repeats == 1 else "repeats"
        told = f"{genome.repeats} {times} of {layers} layers are {expected} slots"
        problem = Problem("genome.slots", f"{told}, not {genome.slots}")
        raise ConfigError("run file", [problem])


def _check_models(genome: GenomeSettings, models: Models) -> None:
    """Refuse models whose layers share no path, before any weight is read."""
    merged = genome.merges and genome.base_model  # whose config a merge on a path has
    home = merged or genome.models[0]
    pool = {name: models[name].config for name in (home, *genome.models)}
    tensors = models[home].entries
    scaled = genome.scales != "none"
    if problems := [*check_pool(pool, tensors, exportable=genome.exportable, scaled=scaled)]:
        raise ConfigError("run file", problems)
