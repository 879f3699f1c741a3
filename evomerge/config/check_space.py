"""What is wrong with the settings of a genome's space: keys of another space, impossible bounds."""

from collections.abc import Iterator, Sequence

from evomerge.config.settings import GenomeSettings
from evomerge.errors import Problem
from evomerge.genome.hop_scales import check_scale_range
from evomerge.genome.techniques import check_starts, check_techniques

MERGE_KEYS = (
    *("merge_method", "layer_granularity", "filters", "own_embeddings", "normalize", "smooth"),
    *("allow_negative_weights", "ranges", "parameters", "tokenizer_source", "start"),
    "refine",
)
ANCESTRY_KEYS = ("layer_granularity", "own_embeddings", "tokenizer_source")
SLOT_KEYS = ("repeats", "slots", "shortest", "longest", "most_distinct")
DEPTH_KEYS = ("together", "skip")
SCALE_KEYS = ("scale_range", "scale_grid", "input_scale_target", "stages")
TECHNIQUE_KEYS = (
    *("techniques", "technique_starts", "mask_rate", "mask_strategy", "mask_rescale"),
)
PATH_KEYS = (*SLOT_KEYS, *DEPTH_KEYS, *SCALE_KEYS, "scales", "exportable")

DEAF = {
    "parameters": (PATH_KEYS, "leave it out, or search paths: `space: data_flow`, for example"),
    "ancestry": (
        (*(key for key in MERGE_KEYS if key not in ANCESTRY_KEYS), *PATH_KEYS),
        "it seeks the part of every founder in every layer, of a plain sum",
    ),
    "data_flow": ((*MERGE_KEYS, *DEPTH_KEYS), "layers are taken as they are"),
    "depth_wise": ((*MERGE_KEYS, *SLOT_KEYS), "each depth is one choice among layers as they are"),
    "both": ((*DEPTH_KEYS, "tokenizer_source", "refine"), "its paths are those of data_flow"),
    "joint": ((*DEPTH_KEYS, "tokenizer_source", "refine"), "its paths are those of data_flow"),
    "techniques": (
        (
            *(key for key in MERGE_KEYS if key != "layer_granularity"),
            *(*SLOT_KEYS, *DEPTH_KEYS, "scale_grid", "stages", "base_model"),
        ),
        "each stage has its own, and what stage one makes is the base of stage two",
    ),
}
"""Space -> keys that say nothing there, and why."""


def check_space(genome: GenomeSettings) -> Iterator[Problem]:
    """Yield what is wrong before any model is looked at."""
    keys, why = DEAF[genome.space]
    for key in _find_said(genome, keys):
        yield Problem(f"genome.{key}", f"`space: {genome.space}` has no such setting: {why}")
    yield from _check_techniques(genome)
    if len(set(genome.models)) < len(genome.models):
        yield Problem("genome.models", "a model stands twice: leave one of them out")
    if genome.space == "ancestry" and len({genome.base_model or "", *genome.models} - {""}) < 2:
        yield Problem("genome.models", "expected at least two founders, the base among them")
    yield from _check_refinement(genome)
    if not genome.has_paths:
        return
    if genome.space == "depth_wise" and len(genome.models) < 2:
        yield Problem("genome.models", "expected at least two models, to choose from at each depth")
    yield from _check_scales(genome)
    yield from _check_bounds(genome)


def _check_techniques(genome: GenomeSettings) -> Iterator[Problem]:
    if genome.space != "techniques":
        for key in _find_said(genome, TECHNIQUE_KEYS):
            yield Problem(f"genome.{key}", "only `space: techniques` has such a setting")
        return
    yield from check_techniques(genome.techniques, "genome.techniques")
    count = len(genome.models)
    yield from check_starts(genome.technique_starts, count, "genome.technique_starts")
    if count < 2:
        yield Problem("genome.models", "a tournament needs at least two models")
    if genome.scales not in ("slots", "none"):
        yield Problem("genome.scales", "a block has one scale, or none: choose `slots` or `none`")


def _check_refinement(genome: GenomeSettings) -> Iterator[Problem]:
    sizes = genome.refine
    if not sizes:
        return
    if genome.layer_granularity:
        told = "`refine` lists the sizes of groups, one after another: leave this one out"
        yield Problem("genome.layer_granularity", told)
    falling = [size or float("inf") for size in sizes]  # 0 puts all layers into one group
    if len(sizes) < 2 or min(sizes) < 0 or falling != sorted(set(falling), reverse=True):
        told = "expected two or more sizes of layer groups, each smaller than the one before"
        yield Problem("genome.refine", f"{told} (0: all layers in one), not {sizes}")


def _find_said(genome: GenomeSettings, keys: Sequence[str]) -> list[str]:
    """Return the keys among `keys` that say something else than nothing at all would."""
    fields = GenomeSettings.model_fields
    silent = {key: fields[key].get_default(call_default_factory=True) for key in keys}
    return [key for key in keys if getattr(genome, key) != silent[key]]


def _check_scales(genome: GenomeSettings) -> Iterator[Problem]:
    if genome.scales == "none":
        for key in _find_said(genome, SCALE_KEYS):
            if getattr(genome, key):
                yield Problem(f"genome.{key}", "there are no scales: `scales: none`")
        return
    if genome.space == "depth_wise" and genome.scales != "slots":
        yield Problem("genome.scales", "a depth has one scale, or none: choose `slots` or `none`")
    if genome.stages and genome.scales != "slots":
        told = f"`scales: {genome.scales}` is searched together with the layers; leave it out"
        yield Problem("genome.stages", told)
    if not genome.in_stages and _find_said(genome, ["scale_grid"]):
        told = "only a search in stages has a grid: `scales: slots`, and no `stages: false`"
        yield Problem("genome.scale_grid", told)
    yield from check_scale_range(genome.scale_range)
    grid = genome.scale_grid
    if len(set(grid)) < 2 or not all(0.0 < scale < float("inf") for scale in grid):
        told = f"expected at least two different numbers > 0, not {grid}"
        yield Problem("genome.scale_grid", told)


def _check_bounds(genome: GenomeSettings) -> Iterator[Problem]:
    """Find bounds that contradict each other, whatever the models' depths."""
    shortest = genome.shortest or 1
    for name in ("longest", "most_distinct"):
        most = getattr(genome, name)
        if most is not None and most < shortest:
            told = f"{most} is less than `shortest`, {shortest}: no path has so few layers"
            yield Problem(f"genome.{name}", told)
    if genome.slots is not None and genome.slots % genome.repeats:
        told = f"{genome.slots} slots are no whole number of layers, {genome.repeats} times"
        yield Problem("genome.slots", told)
