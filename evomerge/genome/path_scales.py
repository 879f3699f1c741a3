"""The scales of a path whose layers are settled: what a search refines second.

Paths whose first scales differ share no computation, so a search finds the layers first, all
scales 1, and then the scales: on a grid, then freely.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from evomerge.errors import ConfigError, Problem
from evomerge.genome.hop_scales import check_scale_range
from evomerge.recipe.model import Recipe
from evomerge.recipe.path import find_hops, make_path
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


class PathScaleSpace:
    """The genome of a search for a path's scales; it begins at those the path has.

    Args:
        path: its layers stay as they are.
        target: what the scales multiply, 'stream' or 'delta'; as the path has it if None.
        scale_range: (low, high) of a scale, with 0 < low <= 1 <= high.
        grid: the scales to choose from, where they are not free; at least two.

    Attributes:
        space: the genes, one a hop.

    Raises:
        RecipeError: it is no path.
        ConfigError: the range or the grid cannot be.
    """

    def __init__(
        self,
        path: Recipe,
        *,
        target: Literal["stream", "delta"] | None = None,
        scale_range: tuple[float, float] = (0.5, 1.5),
        grid: Sequence[float] = (),
    ) -> None:
        self._path, self._hops = path, find_hops(path)
        self._target = target or path.input_scale_target
        grid = tuple(sorted({float(scale) for scale in grid}))
        problems = [*check_scale_range(scale_range)]
        if grid and (len(grid) < 2 or grid[0] <= 0.0):
            told = f"expected at least two different numbers > 0, not {list(grid)}"
            problems.append(Problem("genome.scale_grid", told))
        if problems:
            raise ConfigError("genome", problems)
        low, high = scale_range
        self.space = SearchSpace(
            [
                Gene(f"scale.{place}", low, high, grid, start=_start(hop.scale, grid, low, high))
                for place, hop in enumerate(self._hops)
            ]
        )

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into the path with other scales."""
        values = self.space.decode(genome)
        hops = [
            replace(hop, scale=float(values[f"scale.{place}"]))
            for place, hop in enumerate(self._hops)
        ]
        made = make_path(hops, input_scale_target=self._target)
        return replace(self._path, slices=made.slices, input_scale_target=made.input_scale_target)


def _start(scale: float, grid: Sequence[float], low: float, high: float) -> float:
    """Return the scale itself, or the nearest that can be."""
    return min(grid, key=lambda one: abs(one - scale)) if grid else min(max(scale, low), high)
