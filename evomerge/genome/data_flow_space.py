"""Data-flow space (Akiba et al., 2024): which layers of which models a token runs through.

https://arxiv.org/abs/2403.13187 (section 3.2)

The layers of all models, M in number, are laid out r times one after another: T = M·r slots, of
which a genome chooses some. The chosen ones, in the order of the slots, are the path; the first
model's first layer begins it and its last layer ends it. What enters a layer may be scaled.
A genome decodes to a Recipe.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from evomerge.errors import ConfigError, Problem
from evomerge.genome.hop_scales import (
    HopScales,
    MatrixScales,
    NetworkScales,
    NoScales,
    Slot,
    SlotScales,
    check_scale_range,
    use,
)
from evomerge.recipe.model import Recipe
from evomerge.recipe.path import Hop, make_path
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

ScaleForm = Literal["none", "slots", "matrix", "network"]

STRETCH = 1.6
"""How many times as deep as the first model a path may be, where nothing is said."""
LIKELY = 0.98
"""Chance that a search begins with a layer of the first model's first repeat on the path."""
UNLIKELY = 0.16
"""Most chance that it begins with any other layer on it; at most a quarter of the first model's
depth is expected of them all, so that paths begin within bounds."""

MOST_SLOTS = 10_000
MOST_PAIRS = 100_000
"""So many that a generation still takes seconds: a matrix over 300 layers, for example."""


class DataFlowSpace:
    """The genome of a data-flow search.

    Every point decodes to a path within the bounds: of one that is too long, later slots are left
    out; one that is too short has layers of the first model filled in.

    Args:
        pool: models, each with its number of layers; the first gives both ends of the path,
            embedding, tokenizer, final norm and head.
        repeats: how often the pool's layers are laid out (the paper's r).
        scales: genes for the scales of hops: one a slot, a matrix W over pairs of layers (from,
            to), a small network of both places, or none (all are 1).
        scale_range: (low, high) of a scale, with 0 < low <= 1 <= high; where the search begins, all
            are 1.
        target: what a scale multiplies, 'stream' or 'delta'.
        shortest: fewest layers on a path, at most the first model's depth; both ends if None.
        longest: most layers on a path; 1.6 times the first model's depth if None, and at least 3.
        most_distinct: most different layers on a path; no bound if None.
        dtype: of the merged model.

    Attributes:
        space: the genes.

    Raises:
        ConfigError: no path can satisfy that.
    """

    def __init__(  # noqa: PLR0913 - the settings of a run file, flat
        self,
        pool: Mapping[str | Recipe, int],
        *,
        repeats: int = 1,
        scales: ScaleForm = "slots",
        scale_range: tuple[float, float] = (0.5, 1.5),
        target: Literal["stream", "delta"] = "stream",
        shortest: int | None = None,
        longest: int | None = None,
        most_distinct: int | None = None,
        dtype: str | None = None,
    ) -> None:
        self.models, self.depths = tuple(pool), tuple(pool.values())
        own = self.depths[0] if pool else 0
        self.repeats, self.target, self._dtype = repeats, target, dtype
        self.shortest = min(2, own) if shortest is None else shortest
        self.longest = max(3, int(STRETCH * own)) if longest is None else longest
        self.most_distinct = sum(self.depths) if most_distinct is None else most_distinct
        if problems := [*self._complain(scale_range, scales)]:
            raise ConfigError("genome", problems)
        self.slots = tuple(
            (repeat, model, layer)
            for repeat in range(repeats)
            for model, depth in enumerate(self.depths)
            for layer in range(depth)
        )
        self._end = (repeats, 0, own - 1)
        self._scales: HopScales = SCALES[scales](self.slots, self._end, scale_range)
        self.space = SearchSpace([*self._choices(), *self._scales.genes()])

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a path, a recipe of passthrough slices."""
        values = self.space.decode(genome)
        path = self._fill([slot for slot in self.slots if values.get(use(slot), True)])
        scales = self._scales.read(values, path)
        hops = [
            Hop(self.models[model], layer, scale)
            for (_, model, layer), scale in zip(path, scales, strict=True)
        ]
        return make_path(hops, input_scale_target=self.target, dtype=self._dtype)

    def _choices(self) -> list[Gene]:
        """Make a gene for every slot but the first, which is on every path."""
        own, others = self.depths[0], len(self.slots) - self.depths[0]
        rare = min(UNLIKELY, own / (4 * others)) if others else 0.0
        chances = {slot: LIKELY if slot[:2] == (0, 0) else rare for slot in self.slots[1:]}
        return [
            Gene(use(slot), choices=(False, True), start=chance > 0.5, chances=(1 - chance, chance))
            for slot, chance in chances.items()
        ]

    def _fill(self, chosen: list[Slot]) -> list[Slot]:
        """Add the first model's own layers, the earliest first, until the path is long enough."""
        path = self._close(chosen)
        spare = (slot for slot in self.slots[: self.depths[0]] if slot not in chosen)
        while len(path) < self.shortest:
            chosen = sorted([*chosen, next(spare)])
            path = self._close(chosen)
        return path

    def _close(self, chosen: Sequence[Slot]) -> list[Slot]:
        """Leave out what is beyond the bounds, and end with the first model's last layer."""
        end = self._end[1:]
        path: list[Slot] = []
        met = {self.slots[0][1:], end}
        for slot in chosen:
            layer = slot[1:]
            room = self.longest - len(path) - (layer != end)
            if room > 0 and (layer in met or len(met) < self.most_distinct):
                path.append(slot)
                met.add(layer)
        return path if path[-1][1:] == end else [*path, self._end]

    def _complain(self, scale_range: tuple[float, float], scales: ScaleForm) -> Iterator[Problem]:
        if sum(self.depths) * max(1, self.repeats) < 2 or min(self.depths, default=0) < 1:
            yield Problem("genome.models", "expected models with layers, and more than one layer")
            return
        if self.repeats < 1:
            yield Problem("genome.repeats", f"expected at least 1, not {self.repeats}")
        slots, pairs = sum(self.depths) * self.repeats, sum(self.depths) ** 2
        if slots > MOST_SLOTS:
            told = f"{self.repeats:,} repeats of {sum(self.depths)} layers are {slots:,} slots"
            yield Problem("genome.repeats", f"{told}, more than {MOST_SLOTS:,}: choose fewer")
        if scales == "matrix" and pairs > MOST_PAIRS:
            told = f"a matrix over {sum(self.depths)} layers has {pairs:,} scales"
            yield Problem(
                "genome.scales", f"{told}, more than {MOST_PAIRS:,}: choose `slots` or `network`"
            )
        least = min(2, self.depths[0])
        short = [name for name in ("longest", "most_distinct") if getattr(self, name) < least]
        for name in short:
            yield Problem(f"genome.{name}", f"a path has at least {least} layers: its two ends")
        most = min(self.longest, self.depths[0], self.most_distinct)
        if not short and not 1 <= self.shortest <= most:
            yield Problem(
                "genome.shortest",
                f"expected a number from 1 to {most} (the least of `longest`, `most_distinct` and "
                f"the first model's {self.depths[0]} layers), not {self.shortest}",
            )
        yield from check_scale_range(scale_range)


SCALES: Mapping[ScaleForm, Callable[[Sequence[Slot], Slot, tuple[float, float]], HopScales]] = {
    "none": NoScales,
    "slots": SlotScales,
    "matrix": MatrixScales,
    "network": NetworkScales,
}
