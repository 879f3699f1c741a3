"""Depth-wise integration: at every depth one model's layer, or several in turn, and one scale.

The reduced data-flow space of auto-merge-llm (Su and Geiping, 2025, "Fine, I'll Merge It Myself"):
https://arxiv.org/abs/2502.04030

No path leads back, and none is much longer than the first model: a genome has two genes a depth.
"""

from collections.abc import Mapping
from itertools import permutations
from math import perm
from typing import TYPE_CHECKING, Literal

from evomerge.errors import ConfigError, Problem
from evomerge.genome.hop_scales import check_scale_range
from evomerge.recipe.model import Recipe
from evomerge.recipe.path import Hop, make_path
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

THEN = ">"
"""Stands between the numbers of models whose layers follow each other."""
NONE = ""
"""The choice that leaves a depth out."""
LIKELY = 0.9
"""Chance that a search begins with the first model's own layer at a depth."""
MOST_ORDERS = 2_000
"""Choices at a depth: six models in all orders, for example."""


class DepthWiseSpace:
    """The genome of a depth-wise search.

    Args:
        pool: models, each with its number of layers. The first gives the depths, both ends of the
            path, embedding, tokenizer, final norm and head; at each depth, the layers of the
            others nearest to it count.
        together: most layers at one depth, of different models, in every order.
        skip: whether a depth may be left out.
        scaled: whether what enters a depth is scaled.
        scale_range: (low, high) of a scale, with 0 < low <= 1 <= high.
        target: what a scale multiplies, 'stream' or 'delta'.
        dtype: of the merged model.

    Attributes:
        space: the genes.

    Raises:
        ConfigError: no path can satisfy that.
    """

    def __init__(
        self,
        pool: Mapping[str | Recipe, int],
        *,
        together: int = 2,
        skip: bool = True,
        scaled: bool = True,
        scale_range: tuple[float, float] = (0.5, 1.5),
        target: Literal["stream", "delta"] = "stream",
        dtype: str | None = None,
    ) -> None:
        self.models, self.depths = tuple(pool), tuple(pool.values())
        self.target, self._dtype, self._scaled = target, dtype, scaled
        problems = [*check_scale_range(scale_range)]
        if len(pool) < 2 or min(self.depths) < 1:
            problems.append(Problem("genome.models", "expected at least two models with layers"))
        if not 1 <= together <= max(1, len(pool)):
            told = f"expected a number from 1 to {len(pool)}, of the models, not {together}"
            problems.append(Problem("genome.together", told))
        elif (count := sum(perm(len(pool), k) for k in range(1, together + 1))) > MOST_ORDERS:
            told = f"{len(pool)} models follow each other in {count:,} ways, more than "
            problems.append(Problem("genome.together", f"{told}{MOST_ORDERS:,}: choose fewer"))
        if problems:
            raise ConfigError("genome", problems)
        orders = [
            order for k in range(1, together + 1) for order in permutations(range(len(pool)), k)
        ]
        self._orders = [THEN.join(map(str, order)) for order in orders] + [NONE] * skip
        genes = [self._layers(depth) for depth in range(self.depths[0])]
        genes += [self._scale(depth, scale_range) for depth in range(self.depths[0]) if scaled]
        genes = [gene for gene in genes if gene.has_room()]
        if not genes:
            told = (
                "there is nothing to search: every layer of the first model is an end of the path"
            )
            raise ConfigError(
                "genome", [Problem("genome.models", f"{told}; put a deeper one first")]
            )
        self.space = SearchSpace(genes)

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a path, a recipe of passthrough slices."""
        values = self.space.decode(genome)
        hops: list[Hop] = []
        for depth in range(self.depths[0]):
            scale = float(values.get(f"scale/{depth}", 1.0))
            for order in filter(None, str(values.get(f"layers/{depth}", "0")).split(THEN)):
                model = int(order)
                hops.append(Hop(self.models[model], self._nearest(model, depth), scale))
                scale = 1.0
        return make_path(hops, input_scale_target=self.target, dtype=self._dtype)

    def _layers(self, depth: int) -> Gene:
        """Make the gene of a depth's layers; the first model's own are at both ends."""
        last = self.depths[0] - 1
        fitting = [
            order
            for order in self._orders
            if (depth > 0 or order.split(THEN)[0] == "0")
            and (depth < last or order.split(THEN)[-1] == "0")
        ]
        rest = (1.0 - LIKELY) / max(1, len(fitting) - 1)
        chances = tuple(LIKELY if order == "0" else rest for order in fitting)
        return Gene(f"layers/{depth}", choices=tuple(fitting), start="0", chances=chances)

    def _scale(self, depth: int, span: tuple[float, float]) -> Gene:
        inside = 0 < depth < self.depths[0] - 1 and NONE in self._orders
        return Gene(f"scale/{depth}", *span, start=1.0, needs=f"layers/{depth}" if inside else None)

    def _nearest(self, model: int, depth: int) -> int:
        """Return the layer of a model that lies as deep in it as `depth` does in the first."""
        share = depth / max(1, self.depths[0] - 1)
        return round(share * (self.depths[model] - 1))
