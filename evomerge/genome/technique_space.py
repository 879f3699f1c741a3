"""Technique space: which technique each stage of a tournament's merge uses, with which parameters.

The original is EvoMerge (DNYoussef, 2024): https://github.com/DNYoussef/AIVillage
(agent_forge/evomerge). Its eight first individuals are {linear, slerp} × {ties, dare} ×
{frankenmerge, dfs}; `techniques.py` says what each does. Layers are led through in blocks:
`frankenmerge` has a choice of model a block, `dfs` an ordinary data-flow genome over blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Literal

from evomerge.errors import ConfigError, Problem
from evomerge.genome.data_flow_space import DataFlowSpace
from evomerge.genome.depth_wise import DepthWiseSpace
from evomerge.genome.joint_space import MERGE
from evomerge.genome.merger_space import MergerSpace, Values
from evomerge.genome.techniques import (
    LEAST,
    MOST_LAMBDA,
    STAGES,
    STARTS,
    USUAL,
    Mask,
    Stage,
    Start,
    add,
    check_starts,
    check_techniques,
    choose_techniques,
    interpolate,
    mask_vector,
    mean,
    spread_weights,
)
from evomerge.recipe.model import Recipe
from evomerge.recipe.path import Hop, find_hops, make_path
from evomerge.space import Choice, Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Stacker = DataFlowSpace | DepthWiseSpace
BLOCKS = 8
"""Most blocks of layers, where nothing is said."""
MOST_MASKED = 0.99


class TechniqueSpace:
    """The genome of a tournament.

    Args:
        models: what is merged, at least two.
        layers: how many layers each of them has.
        techniques: names; a stage of which none is named is left out.
        starts: technique -> parameter -> value with which it begins.
        mask: what is dropped of task vectors before stage two.
        layer_granularity: layers per block; as many as make eight blocks if 0.
        scales: whether hops of `dfs` have scales: 'slots' or 'none'.
        scale_range: (low, high) of a scale.
        target: what a scale multiplies, 'stream' or 'delta'.
        dtype: of the merged model.

    Attributes:
        space: the genes; its known points are the product of all techniques.

    Raises:
        ConfigError: nothing to search, or techniques for which these models are too shallow.
    """

    def __init__(  # noqa: PLR0913 - the settings of a run file, flat
        self,
        models: Sequence[str],
        layers: int,
        *,
        techniques: Sequence[str] = USUAL,
        starts: Mapping[str, Start] | None = None,
        mask: Mask | None = None,
        layer_granularity: int = 0,
        scales: Literal["slots", "none"] = "slots",
        scale_range: tuple[float, float] = (0.5, 1.5),
        target: Literal["stream", "delta"] = "stream",
        dtype: str | None = None,
    ) -> None:
        self.models, self._stages = tuple(models), choose_techniques(techniques)
        self._mask, self._target, self._dtype = mask or Mask(), target, dtype
        self._starts = {n: {**start, **(starts or {}).get(n, {})} for n, start in STARTS.items()}
        self._bounds = _cut(layers, layer_granularity)
        problems = [*check_techniques(techniques, "genome.techniques")]
        problems += check_starts(starts or {}, len(models), "genome.starts")
        problems += self._complain()
        if problems:
            raise ConfigError("genome", problems)
        self._stackers = dict(self._make_stackers(scales, scale_range))
        genes = [*self._genes()]
        self._depths: dict[bytes, int] = {}
        self._mergers = MergerSpace(
            genes, applies=self._applies, shape=self._depth, known=dict(self._known(genes))
        )

    @property
    def space(self) -> SearchSpace:
        """The genes."""
        return self._mergers

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a recipe: a merge, a path, or the mean of several."""
        shares: dict[Recipe, float] = {}
        for point, share in self._mergers.divide(genome):
            recipe = self._decode(point)
            shares[recipe] = shares.get(recipe, 0.0) + share
        return mean(shares, self._dtype)

    def describe(self, genome: "Genome") -> str:
        """Return the techniques of a point: `linear + dare + dfs`; of each of its merges."""
        chosen = [self._mergers.decode(point) for point, _ in self._mergers.divide(genome)]
        told = [
            " + ".join(filter(None, (self._choice(stage, values) for stage in STAGES)))
            for values in chosen
        ]
        return " and ".join(dict.fromkeys(told))

    def _decode(self, point: "Genome") -> Recipe:
        """Carry out the three stages of a point, its pointer passed over."""
        values = self._mergers.decode(point)
        merge: str | Recipe = self.models[0]
        if first := self._choice("interpolation", values):
            weights = [float(values[f"weight {k}"]) for k in range(len(self.models))]
            merge = interpolate(first, self.models, weights, self._dtype)
        if second := self._choice("addition", values):
            merge = self._add(second, merge, values)
        third = self._choice("stacking", values)
        if not third:
            assert isinstance(merge, Recipe)
            return merge
        return self._stack(third, merge, point)

    def _add(self, technique: str, base: str | Recipe, values: Values) -> Recipe:
        """Carry out stage two; the base itself has no task vector."""
        models = [k for k, model in enumerate(self.models) if model != base]
        rate = float(values.get("mask rate", 0.0))
        return add(
            technique,
            [mask_vector(self.models[k], base, rate, self._mask, self._dtype) for k in models],
            [float(values[f"delta {k}"]) for k in models],
            base,
            density=float(values.get("density", 1.0)),
            scale=float(values["lambda"]),
            dtype=self._dtype,
        )

    def _stack(self, technique: str, merge: str | Recipe, point: "Genome") -> Recipe:
        """Carry out stage three: a path over blocks becomes one over layers."""
        prefix, space = f"{technique}/", self._stackers[technique].space
        names = [gene.name for gene in self._mergers.genes]
        places = [names.index(prefix + gene.name) for gene in space.genes]
        blocks = find_hops(self._stackers[technique].decode(point[places]))
        hops = [
            Hop(merge if hop.model == MERGE else hop.model, layer, hop.scale if k == 0 else 1.0)
            for hop in blocks
            for k, layer in enumerate(range(*self._bounds[hop.layer : hop.layer + 2]))
        ]
        return make_path(hops, input_scale_target=self._target, dtype=self._dtype)

    def _depth(self, point: "Genome") -> int:
        """Return how many layers the merge of a point has that is no merger."""
        key = point.tobytes()
        if key not in self._depths:
            recipe = self._decode(point)
            stacked = bool(self._stages["stacking"])
            self._depths[key] = len(find_hops(recipe)) if stacked else self._bounds[-1]
        return self._depths[key]

    # ------------------------------------------------------------------------------------ genes
    def _genes(self) -> Iterator[Gene]:
        for stage, names in self._stages.items():
            if len(names) > 1:
                yield Gene(stage, choices=names, start=names[0])
        count = range(len(self.models))
        if self._stages["interpolation"]:
            yield from (Gene(f"weight {k}", LEAST, 1.0, start=0.5) for k in count)
        if self._stages["addition"]:
            yield from (Gene(f"delta {k}", LEAST, 1.0, start=0.5) for k in count)
            yield Gene("lambda", 0.0, MOST_LAMBDA, start=1.0)
            if self._stages["addition"] != ("task_arithmetic",):
                yield Gene("density", LEAST, 1.0, start=0.5)
            if self._mask.rate > 0.0:
                yield Gene("mask rate", 0.0, MOST_MASKED, start=self._mask.rate)
        for technique, stacker in self._stackers.items():
            for gene in stacker.space.genes:
                needs = gene.needs and f"{technique}/{gene.needs}"
                yield replace(gene, name=f"{technique}/{gene.name}", needs=needs)

    def _applies(self, gene: str, values: Values) -> bool:
        """Tell whether a gene belongs to a technique that was chosen."""
        technique, found, _ = gene.partition("/")
        if found:
            return self._choice("stacking", values) == technique
        return gene != "density" or self._choice("addition", values) != "task_arithmetic"

    def _choice(self, stage: Stage, values: Values) -> str:
        """Return the technique of a stage; empty where the stage is left out."""
        names = self._stages[stage]
        return str(values[stage]) if len(names) > 1 else "".join(names)

    # ------------------------------------------------------------------------- where it begins
    def _known(self, genes: Sequence[Gene]) -> Iterator[tuple[str, Values]]:
        """Yield every combination of techniques, with its parameters as they begin."""
        middle = {gene.name: gene.value(gene.beginning) for gene in genes}
        stages = [names or ("",) for names in self._stages.values()]
        for chosen in product(*stages):
            values: dict[str, Choice] = {**middle}
            values |= zip(STAGES, chosen, strict=True)
            for technique in filter(None, chosen):
                values |= self._begin(technique)
            known = {gene.name: values[gene.name] for gene in genes}
            yield " + ".join(filter(None, chosen)), known

    def _begin(self, technique: str) -> dict[str, Choice]:
        """Return the values of genes with which a technique begins."""
        start = self._starts[technique]
        if technique in STAGES["interpolation"]:
            weights = spread_weights(start, len(self.models))
            return {f"weight {k}": weight for k, weight in enumerate(weights)}
        if technique in STAGES["addition"]:
            return {name: float(value) for name, value in start.items()}  # type: ignore[arg-type]  # checked to be one number each
        return self._alternate() if technique == "frankenmerge" else {}

    def _alternate(self) -> dict[str, Choice]:
        """Give every second inner block to a model, in turn, and the others to the merge."""
        space = self._stackers["frankenmerge"].space
        found: dict[str, Choice] = {}
        for place, gene in enumerate(space.genes):
            turn = place // 2 % (len(self._pool) - 1)
            found[f"frankenmerge/{gene.name}"] = "0" if place % 2 else str(turn + 1)
        return found

    # ---------------------------------------------------------------------------------- stacking
    @property
    def _pool(self) -> tuple[str, ...]:
        """What stage three leads through: the merge, if there is one, and the models."""
        merges = self._stages["interpolation"] or self._stages["addition"]
        return (MERGE, *self.models) if merges else self.models

    def _make_stackers(
        self, scales: Literal["slots", "none"], span: tuple[float, float]
    ) -> Iterator[tuple[str, Stacker]]:
        """Make the genomes of stage three, whose layers are blocks."""
        pool: dict[str | Recipe, int] = dict.fromkeys(self._pool, len(self._bounds) - 1)
        if "frankenmerge" in self._stages["stacking"]:
            yield "frankenmerge", DepthWiseSpace(pool, together=1, skip=False, scaled=False)
        if "dfs" in self._stages["stacking"]:
            yield (
                "dfs",
                DataFlowSpace(pool, scales=scales, scale_range=span, target=self._target),
            )

    def _complain(self) -> Iterator[Problem]:
        if len(self.models) < 2:
            yield Problem("genome.models", "expected at least two models")
        if self._stages["stacking"] and len(self._bounds) < 4:
            told = "stacks blocks between the first and the last: models need at least three layers"
            yield Problem("genome.techniques", f"{self._stages['stacking'][0]} {told}")
        if not 0.0 <= self._mask.rate <= MOST_MASKED:
            told = f"expected a share in [0, {MOST_MASKED:g}], not {self._mask.rate:g}"
            yield Problem("genome.mask_rate", told)


def _cut(layers: int, granularity: int) -> list[int]:
    """Return the first layer of every block, and the end of the last."""
    if granularity:
        return [*range(0, layers, granularity), layers]
    blocks = min(BLOCKS, layers)
    return [layers * k // blocks for k in range(blocks + 1)]
