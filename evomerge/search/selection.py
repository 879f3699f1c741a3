"""Who competes in a search, and what they earned in several goals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evomerge.records import Evaluated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome


@dataclass(frozen=True, eq=False)
class Entrant:
    """A genome with its place in the order of asking, and what it earned."""

    place: int
    result: Evaluated

    @property
    def genome(self) -> "Genome":
        """The genome, shape (genes,)."""
        return self.result.genome


def tabulate(
    entrants: Sequence[Entrant],
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return objectives, shape (n, goals), and violations, shape (n,).

    What failed or did not meet all items misses every bound; objectives that it lacks are NaN.

    Args:
        entrants: at least one.
    """
    goals = max(len(entrant.result.objectives) for entrant in entrants)
    points = [(*e.result.objectives, *[math.nan] * goals)[:goals] for e in entrants]
    missed = [e.result.violation if e.result.standing == 2 else math.inf for e in entrants]
    return np.array(points, dtype=np.float64), np.array(missed, dtype=np.float64)
