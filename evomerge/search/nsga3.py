"""NSGA-III (Deb and Jain, 2014): three goals and more, by directions spread evenly over them.

https://doi.org/10.1109/TEVC.2013.2281535

Where fronts alone do not decide who survives, every direction draws the point that is closest to
it, those first that have the fewest. Parents are drawn by lot; of two that miss bounds, the one
that misses them by less (part II: https://doi.org/10.1109/TEVC.2013.2281534).
"""

from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evomerge.pareto import non_dominated_sort
from evomerge.search.nsga2 import NSGA2
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

OFF_AXIS = 1e-6
"""Weight of the other goals when the extreme point of one is looked for (equation 4 there)."""


class NSGA3(NSGA2):
    """NSGA-II whose survivors are spread by reference directions: for three goals and more.

    There are as many directions as a population lets (Das and Dennis, 1998). First generation,
    crossover and mutation are those of nsga2; children stay closer (table II there).

    Args:
        space: the genes.
        seed: of the draws.
        population: parents, and children per generation; at least 4.
        crossover: share of pairs that cross over.
        crossover_index: how close children stay to their parents, > 0; greater is closer.
        mutation: chance of every gene to change; 1 / genes if absent.
        mutation_index: how small changes are, > 0; greater is smaller.
    """

    name: ClassVar[str] = "nsga3"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 20,
        crossover: float = 1.0,
        crossover_index: float = 30.0,
        mutation: float | None = None,
        mutation_index: float = 20.0,
    ) -> None:
        options: dict[str, Any] = {"crossover": crossover, "crossover_index": crossover_index}
        options |= {"mutation": mutation, "mutation_index": mutation_index}
        super().__init__(space, seed=seed, population=population, **options)
        self._directions = np.empty((0, 0))
        self._ideal = np.empty(0)
        self._extremes = np.empty((0, 0))

    def _select(self, points: "Points", violations: "Points") -> "NDArray[np.int64]":
        fronts = non_dominated_sort(points, violations)
        order = np.argsort(fronts, kind="stable")
        sizes = np.cumsum(np.bincount(fronts))
        last = int(np.searchsorted(sizes, min(self.batch, len(points))))
        sure, split = order[fronts[order] < last], order[fronts[order] == last]
        room = self.batch - len(sure)
        if len(split) <= room or violations[split[0]] > 0.0:
            return np.concatenate([sure, split[:room]])
        members = np.concatenate([sure, split])
        nearest, distances = self._associate(self._normalise(-points[members]))
        drawn = self._draw(nearest, distances, len(sure), room)
        return np.concatenate([sure, members[drawn]])

    def _rank(self, points: "Points", violations: "Points") -> list[tuple[float, ...]]:
        return [(-violation,) for violation in violations[: len(points)].tolist()]

    def _normalise(self, costs: "Points") -> "Points":
        """Return costs with the best seen at 0 and the intercepts of the axes at 1 (section IV-C).

        Beyond the paper, extreme points are looked for in units of the population's extent: which
        of them are found does not hang on the units of the goals.
        """
        goals = costs.shape[1]
        if not len(self._directions):
            self._directions = spread_directions(goals, self.batch)
            self._ideal, self._extremes = np.full(goals, np.inf), np.empty((0, goals))
        self._ideal = np.minimum(self._ideal, costs.min(axis=0))
        extent = (costs - self._ideal).max(axis=0)
        extent[extent <= 0.0] = 1.0
        candidates = np.concatenate([self._extremes, costs])
        moved = (candidates - self._ideal) / extent
        weights = np.where(np.eye(goals) > 0, 1.0, OFF_AXIS)
        corners = (moved[:, None] / weights).max(axis=2).argmin(axis=0)
        self._extremes = candidates[corners]
        normal: Points = moved[-len(costs) :] / _find_intercepts(moved[corners])
        return normal

    def _associate(self, points: "Points") -> "tuple[NDArray[np.int64], Points]":
        """Return each point's closest direction, and its distance from that line."""
        units = self._directions / np.linalg.norm(self._directions, axis=1)[:, None]
        along = points @ units.T
        squares = (points**2).sum(axis=1)[:, None] - along**2
        nearest = squares.argmin(axis=1)
        return nearest, squares[np.arange(len(points)), nearest]

    def _draw(
        self, nearest: "NDArray[np.int64]", distances: "Points", sure: int, room: int
    ) -> list[int]:
        """Fill `room` places with points behind the first `sure`, the emptiest directions first."""
        taken = np.bincount(nearest[:sure], minlength=len(self._directions))
        left, drawn = list(range(sure, len(nearest))), list[int]()
        while len(drawn) < room:
            open_ = sorted({int(nearest[place]) for place in left})
            fewest = min(taken[open_])
            direction = self._rng.choice([k for k in open_ if taken[k] == fewest])
            here = [place for place in left if nearest[place] == direction]
            closest = min(here, key=lambda place: (distances[place], place))
            chosen = closest if fewest == 0 else int(self._rng.choice(here))
            drawn.append(chosen)
            left.remove(chosen)
            taken[direction] += 1
        return drawn


def spread_directions(goals: int, most: int) -> "Points":
    """Return directions spread evenly over the goals, shape (n, goals), each with sum 1.

    One layer, where there are enough for it to reach inside; else two, the inner one half as wide.
    At least one direction a goal.

    Args:
        goals: at least 1.
        most: at most so many directions, if there are as many goals.
    """
    divisions = 1
    while goals > 1 and comb(goals + divisions, divisions + 1) <= most:
        divisions += 1
    if divisions >= goals:
        return divide_simplex(goals, divisions)
    while divisions > 1 and _count_layers(goals, divisions) > most:
        divisions -= 1
    outer = divide_simplex(goals, divisions)
    inner = divide_simplex(goals, divisions - 1) / 2.0 + 0.5 / goals
    return np.concatenate([outer, inner]) if len(outer) + len(inner) <= most else outer


def divide_simplex(goals: int, divisions: int) -> "Points":
    """Return all points whose coordinates are multiples of 1 / divisions and have the sum 1.

    Of no divisions, the middle (Das and Dennis, 1998): https://doi.org/10.1137/S1052623496307510
    """
    if divisions == 0:
        return np.full((1, goals), 1.0 / goals)
    places = range(divisions + goals - 1)
    bars = ((-1, *chosen, len(places)) for chosen in combinations(places, goals - 1))
    steps = [[after - before - 1 for before, after in pairwise(row)] for row in bars]
    return np.array(steps, dtype=np.float64) / divisions


def _count_layers(goals: int, divisions: int) -> int:
    """Return the number of directions in two layers."""
    outer, inner = divisions, divisions - 1
    return comb(goals + outer - 1, outer) + comb(goals + inner - 1, inner)


def _find_intercepts(extremes: "Points") -> "Points":
    """Return where the plane through the extremes meets the axes; 1, where it does not."""
    plain = np.ones(len(extremes))
    if abs(np.linalg.det(extremes)) < 1e-9:
        return plain
    slopes = np.asarray(np.linalg.solve(extremes, plain), dtype=np.float64)
    return 1.0 / slopes if ((slopes > 1e-3) & (slopes < 1e3)).all() else plain
