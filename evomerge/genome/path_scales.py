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

LIKELY = 0.8
"""Chance that a search on a grid begins with the scale that a hop has, or the nearest to it."""


class PathScaleSpace:
    """The genome of a search for a path's scales; it begins at those the path has.

    Args:
        path: its layers stay as they are.
        target: what the scales multiply, 'stream' or 'delta'; as the path has it if None.
        scale_range: (low, high) of a scale, with 0 < low <= 1 <= high.
        grid: the scales to choose from, where they are not free; at least two. The nearer one is
            to the scale that a hop has, the likelier the search begins with it.

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
        self.space = SearchSpace(
            [
                _make_gene(f"scale.{place}", hop.scale, scale_range, grid)
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


def _make_gene(name: str, scale: float, span: tuple[float, float], grid: tuple[float, ...]) -> Gene:
    """Make a gene that begins at a scale, or at the nearest one that can be."""
    if not grid:
        low, high = span
        return Gene(name, low, high, start=min(max(scale, low), high))
    home = min(range(len(grid)), key=lambda place: abs(grid[place] - scale))
    steps = [abs(place - home) for place in range(len(grid))]
    share = (1.0 - LIKELY) / sum(1.0 / step for step in steps if step)
    chances = tuple(share / step if step else LIKELY for step in steps)
    return Gene(name, choices=grid, start=grid[home], chances=chances)
