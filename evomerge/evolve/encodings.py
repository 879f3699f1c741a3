"""The spaces that a run may search, built from its settings and its models."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from evomerge.config import GenomeSettings
from evomerge.engine import Models
from evomerge.errors import ConfigError, Problem
from evomerge.evolve.geometry import measure_founders
from evomerge.genome import (
    AncestrySpace,
    DataFlowSpace,
    DepthWiseSpace,
    JointSpace,
    ParameterSpace,
    PathScaleSpace,
    TechniqueSpace,
    begin_at,
    encode,
)
from evomerge.genome.joint_space import MERGE
from evomerge.genome.pool import check_pool
from evomerge.genome.techniques import Mask
from evomerge.recipe import Recipe, parse_recipe
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

logger = logging.getLogger(__name__)


class Encoding(Protocol):
    """A search space whose points are recipes."""

    @property
    def space(self) -> SearchSpace:
        """The genes."""
        ...

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a recipe."""
        ...


def build_parameter_space(
    genome: GenomeSettings, models: Models, around: Recipe | None = None
) -> ParameterSpace:
    """Make the genome of a merge, or of merges around one; reads the models' headers."""
    assert genome.merge_method is not None
    layout = models.layout(genome.base_model or genome.models[0])
    space = ParameterSpace(
        genome.models,
        genome.merge_method,
        layout,
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
        around=around,
    )
    if around or genome.start is None:
        return space
    return begin_at(space, _read_start(genome), layout)


def _read_start(genome: GenomeSettings) -> Recipe:
    assert isinstance(genome.start, dict)  # a file was read with the run file
    return parse_recipe(genome.start, "genome.start")[0]


def tell_of_start(genome: GenomeSettings, models: Models) -> None:
    """Warn of what is not as in the merge at which the search begins."""
    layout = models.layout(genome.base_model or genome.models[0])
    size = genome.refine[0] if genome.refine else genome.layer_granularity
    changes = {"start": None, "layer_granularity": size}
    space = build_parameter_space(genome.model_copy(update=changes), models)
    for note in encode(space, _read_start(genome), layout)[1]:
        logger.warning("genome.start: %s", note)


def build_ancestry_space(genome: GenomeSettings, models: Models) -> AncestrySpace:
    """Make the genome of merges that descend from founders."""
    founders = [*dict.fromkeys(filter(None, [genome.base_model, *genome.models]))]
    return AncestrySpace(
        founders,
        models.layout(founders[0]),
        layer_granularity=genome.layer_granularity,
        own_embeddings=genome.own_embeddings,
        dtype=genome.dtype,
        tokenizer_source=genome.tokenizer_source,
        measure=partial(measure_founders, models=models),
    )


def build_technique_space(
    genome: GenomeSettings, depths: Mapping[str | Recipe, int]
) -> TechniqueSpace:
    """Make the genome of a tournament: what is merged, by which techniques."""
    return TechniqueSpace(
        genome.models,
        min(depths.values()),  # where they differ, no plan of a merge fits them, which is told
        techniques=genome.techniques,
        starts=genome.technique_starts,
        mask=Mask(genome.mask_rate, genome.mask_strategy, genome.mask_rescale),
        layer_granularity=genome.layer_granularity,
        scales="none" if genome.scales == "none" else "slots",
        scale_range=genome.scale_range,
        target=genome.input_scale_target,
        dtype=genome.dtype,
    )


def refine_scales(
    genome: GenomeSettings, grid: tuple[float, ...], path: Recipe | None
) -> PathScaleSpace:
    """Make the genome of the scales of a path: of a grid, or free ones."""
    assert path is not None
    target, span = genome.input_scale_target, genome.scale_range
    return PathScaleSpace(path, target=target, scale_range=span, grid=grid)


def make_paths(
    genome: GenomeSettings,
    models: Models,
    depths: Mapping[str | Recipe, int],
    scaled: bool,
    winner: Recipe | None,  # noqa: ARG001 - as phases call it
) -> Encoding:
    """Make the genome of paths through models, or through a merge of them, too."""
    if genome.space != "joint":
        return build_path_space(genome, depths, scaled=scaled)
    merge = build_parameter_space(genome, models)
    own = models.layout(genome.base_model or genome.models[0]).layers
    return JointSpace(merge, build_path_space(genome, {MERGE: own, **depths}, scaled=scaled))


def build_path_space(
    genome: GenomeSettings, pool: Mapping[str | Recipe, int], *, scaled: bool
) -> DataFlowSpace | DepthWiseSpace:
    """Make the genome of paths through a pool of models."""
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


def check_path_models(genome: GenomeSettings, models: Models) -> None:
    """Refuse models whose layers share no path, before any weight is read."""
    merged = genome.merges and genome.base_model  # whose config a merge on a path has
    home = merged or genome.models[0]
    pool = {name: models[name].config for name in (home, *genome.models)}
    tensors = models[home].entries
    scaled = genome.scales != "none"
    if problems := [*check_pool(pool, tensors, exportable=genome.exportable, scaled=scaled)]:
        raise ConfigError("run file", problems)
