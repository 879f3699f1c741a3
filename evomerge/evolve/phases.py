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

from evomerge.checkpoints.locate import display_name
from evomerge.config import GenomeSettings, RunConfig
from evomerge.engine import Models
from evomerge.errors import ConfigError, Problem
from evomerge.evolve.encodings import (
    Encoding,
    build_ancestry_space,
    build_parameter_space,
    build_path_space,
    build_technique_space,
    check_path_models,
    make_paths,
    refine_scales,
    tell_of_start,
)
from evomerge.recipe import Recipe

LAYERS, GRID = Fraction(1, 2), Fraction(1, 4)
"""Shares of a path's budget that go to its layers and to a grid of scales; free ones follow."""
MERGE_FIRST = Fraction(1, 2)
"""Share of the budget that goes to the merge, where paths follow."""


@dataclass(frozen=True)
class Phase:
    """A part of a search.

    Attributes:
        name: what people call it; empty where a search has no other.
        share: of the budget.
        make: makes the genome, of the winner of the phase before it.
        after: number of the phase at whose winner this one begins; None where it begins afresh.
        refines: its groups are smaller than those of the phase before, around whose winner it
            searches. It is left out where that winner is no better than the one before it.
    """

    name: str
    share: Fraction
    make: Callable[[Recipe | None], Encoding]
    after: int | None = None
    refines: bool = False


def plan_phases(config: RunConfig, models: Models) -> tuple[Phase, ...]:
    """Return the parts of a search in their order; reads the models' headers.

    Raises:
        ConfigError: layers of the models share no path, or the budget is too small.
    """
    genome = config.genome
    if genome.has_paths:
        check_path_models(genome, models)
    if genome.start is not None:
        tell_of_start(genome, models)
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


def _plan(genome: GenomeSettings, models: Models) -> Iterator[Phase]:
    depths: dict[str | Recipe, int] = {name: models.layout(name).layers for name in genome.models}
    if genome.refine:
        yield from _plan_finer(genome, models)
    elif genome.space == "parameters":
        yield Phase("", Fraction(1), lambda _: build_parameter_space(genome, models))
    elif genome.space == "ancestry":
        yield Phase("", Fraction(1), lambda _: build_ancestry_space(genome, models))
    elif genome.space == "techniques":
        yield Phase("", Fraction(1), lambda _: build_technique_space(genome, depths))
    elif genome.space == "both":
        yield from _plan_both(genome, models, depths)
    else:
        yield from _plan_paths(genome, partial(make_paths, genome, models, depths))


def _plan_finer(genome: GenomeSettings, models: Models) -> Iterator[Phase]:
    """Plan a search with few groups of layers, and then with smaller ones around what was found."""
    sizes, genes = genome.refine, 0
    for number, size in enumerate(sizes):
        begun = {"start": None} if number else {}
        own = genome.model_copy(update={"layer_granularity": size, "refine": [], **begun})
        count = len(build_parameter_space(own, models).space)
        if count <= genes:
            told = f"groups of {size} layers are no smaller than those before, in these models"
            raise ConfigError("run file", [Problem(f"genome.refine[{number}]", told)])
        genes = count
        name = f"groups of {size}" if size else "one group"
        make = partial(build_parameter_space, own, models)
        after = number - 1 if number else None
        yield Phase(name, Fraction(1, len(sizes)), make, after, refines=number > 0)


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
        return build_path_space(genome, {winner: own, partner: depths[partner]}, scaled=scaled)

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
    yield Phase("grid of scales", share * GRID, partial(refine_scales, genome, grid), first)
    rest = share * (1 - LAYERS - GRID)
    yield Phase("free scales", rest, partial(refine_scales, genome, ()), first + 1)
