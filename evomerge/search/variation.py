"""How a point changes at random: a step for its numbers, another choice for its choices."""

from typing import TYPE_CHECKING

import numpy as np

from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

MOVED = 0.25
"""Share of the numbers that a mutation moves: in a few at a time, searches find more."""


def draw(space: SearchSpace, rng: np.random.Generator) -> "Genome":
    """Return a random point: numbers evenly, choices by their chances."""
    return space.quantile(rng.random(len(space)))


def draw_near_start(space: SearchSpace, sigma: float, rng: np.random.Generator) -> "Genome":
    """Return a random point: choices by their chances, numbers normally around their starts.

    Args:
        space: the genes.
        sigma: the standard deviation of numbers, as a share of their ranges.
        rng: of the draws.
    """
    choices = draw(space, rng)
    numbers = space.start() + sigma * rng.standard_normal(len(space))
    return space.clip(np.where(space.choosing, choices, numbers))


def mutate(space: SearchSpace, point: "Genome", sigma: float, rng: np.random.Generator) -> "Genome":
    """Return a point nearby, shape (genes,).

    A quarter of the numbers take a step, and one of the choices changes, on average.

    Args:
        space: the genes.
        point: where to begin.
        sigma: the standard deviation of a number's step, as a share of its range; with 0 nothing
            changes, choices neither.
        rng: of the draws.
    """
    if not sigma:
        return point
    count = len(space)
    steps = sigma * rng.standard_normal(count) * (rng.random(count) < max(MOVED, 1.0 / count))
    moved = space.clip(point + steps)
    if not space.choosing.any():
        return moved
    changes = rng.random(count) < 1.0 / space.choosing.sum()
    chosen = np.where(changes, draw(space, rng), point)
    return np.where(space.choosing, chosen, moved)


def first_points(
    space: SearchSpace, count: int, rng: np.random.Generator
) -> "list[tuple[str, Genome]]":
    """Return what an archive begins with, each with where it comes from.

    That is what the space knows; or, where that is less than two points, the place where a search
    begins and draws, `count` in all.
    """
    known = [("known", point) for point in space.known.values()]
    if len(known) > 1:
        return known
    begun = [*known, ("", space.start())]
    return [*begun, *(("", draw(space, rng)) for _ in range(count - len(begun)))]
