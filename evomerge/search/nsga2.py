"""NSGA-II (Deb et al., 2002): several goals at once, by fronts and crowding.

https://doi.org/10.1109/4235.996017

Numbers cross over by simulated binary crossover (Deb and Agrawal, 1995) and change by polynomial
mutation (Deb and Goyal, 1996), both within their bounds; choices are exchanged, and change to other
choices. Bounds on tasks are met before goals count: less violation dominates (section VI there).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.pareto import choose_survivors, rank_crowded
from evomerge.records import Evaluated, Origin
from evomerge.search.base import MANY, Kind, Searcher, choose_population, drop_equals
from evomerge.search.selection import Entrant, tabulate
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

ATTEMPTS = 10
"""Pairs of parents for each genome wanted, before one that was proposed already is taken."""


class NSGA2(Searcher):
    """Genetic algorithm whose best are a front, spread evenly over several goals.

    The first generation holds the space's known points and its start; the others are drawn from
    the whole space. Children that were proposed before are bred anew, until a space has no others.

    Args:
        space: the genes.
        seed: of the draws.
        population: parents, and children per generation; at least 4.
        crossover: share of pairs that cross over.
        crossover_index: how close children stay to their parents, > 0; greater is closer.
        mutation: chance of every gene to change; 1 / genes if absent.
        mutation_index: how small changes are, > 0; greater is smaller.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"multi_objective"})
    goals: ClassVar[tuple[int, int]] = (2, MANY)
    name: ClassVar[str] = "nsga2"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 20,
        crossover: float = 0.9,
        crossover_index: float = 15.0,
        mutation: float | None = None,
        mutation_index: float = 20.0,
    ) -> None:
        super().__init__(space, seed=seed)
        self.batch = choose_population(self.name, population, len(space))
        self._crossover = crossover
        self._mutation = 1.0 / len(space) if mutation is None else mutation
        if not 0.0 <= crossover <= 1.0 or not 0.0 <= self._mutation <= 1.0:
            raise ValueError(f"{self.name} needs a crossover and a mutation in [0, 1]")
        if not all(0.0 < index <= 1e4 for index in (crossover_index, mutation_index)):
            raise ValueError(f"{self.name} needs a crossover_index and a mutation_index > 0")
        self._closeness, self._fineness = crossover_index + 1.0, mutation_index + 1.0
        self._rng = np.random.default_rng(seed)
        self._members: list[Entrant] = []
        self._standing: list[tuple[float, ...]] = []

    def _ask(self, count: int) -> "list[Genome]":
        born = self._breed(count) if self._members else self._found(count)
        self._born = [origin for _, origin in born]
        return [point for point, _ in born]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        first = self.told - len(results)
        pool = [*self._members, *(Entrant(first + k, result) for k, result in enumerate(results))]
        points, violations = tabulate(pool)
        kept = self._select(points, violations)
        self._members = [pool[place] for place in kept]
        self._standing = self._rank(points[kept], violations[kept])

    def _select(
        self, points: "NDArray[np.float64]", violations: "NDArray[np.float64]"
    ) -> "NDArray[np.int64]":
        """Return the places of the next parents."""
        return choose_survivors(points, self.batch, violations)

    def _rank(
        self, points: "NDArray[np.float64]", violations: "NDArray[np.float64]"
    ) -> list[tuple[float, ...]]:
        """Return what decides who of two parents has children; greater wins."""
        return rank_crowded(points, violations)

    def _found(self, count: int) -> "list[tuple[Genome, Origin]]":
        """Return the first generation."""
        start = self.space.settle(self.space.start())
        known = drop_equals([*self.space.known.values(), start])
        found = [(point, Origin("known")) for point in known[:count]]
        shares = self._rng.random((count - len(found), self.dimension))
        return [*found, *((self.space.quantile(share), Origin()) for share in shares)]

    def _breed(self, count: int) -> "list[tuple[Genome, Origin]]":
        """Return children that were not proposed before, as long as enough are found."""
        found: list[tuple[Genome, Origin]] = []
        seen = set(self._seen)
        for attempt in range(ATTEMPTS * count):
            for point, origin in self._pair():
                key = self.space.settle(point).tobytes()
                if len(found) < count and (key not in seen or attempt >= (ATTEMPTS - 1) * count):
                    found.append((point, origin))
                    seen.add(key)
            if len(found) == count:
                break
        return found

    def _pair(self) -> "list[tuple[Genome, Origin]]":
        """Return two children of two parents."""
        mother, father = self._choose_parent(), self._choose_parent()
        if self._rng.random() < self._crossover:
            points = self._cross(mother.genome, father.genome)
            places = tuple(dict.fromkeys([mother.place, father.place]))
            origins = [Origin("crossover", places)] * 2
        else:
            points = (mother.genome.copy(), father.genome.copy())
            origins = [Origin("mutant", (parent.place,)) for parent in (mother, father)]
        return [(self._mutate(p), origin) for p, origin in zip(points, origins, strict=True)]

    def _choose_parent(self) -> Entrant:
        """Return the better of two parents drawn by lot."""
        one, other = map(int, self._rng.integers(len(self._members), size=2))
        return self._members[one if self._standing[one] >= self._standing[other] else other]

    def _cross(self, one: "Genome", other: "Genome") -> "tuple[Genome, Genome]":
        """Exchange half of the choices; draw half of the numbers around both parents."""
        chosen, swapped = self._rng.random((2, self.dimension)) < 0.5
        draws = self._rng.random(self.dimension)
        low, high = np.minimum(one, other), np.maximum(one, other)
        gap = high - low
        drawn = chosen & ~self.space.choosing & (gap > 1e-12)
        width = np.where(drawn, gap, 1.0)
        middle, half = (low + high) / 2.0, gap / 2.0
        first = np.where(drawn, middle - self._spread(draws, low / width) * half, one)
        second = np.where(drawn, middle + self._spread(draws, (1.0 - high) / width) * half, other)
        swapped &= drawn | self.space.choosing
        children = np.where(swapped, second, first), np.where(swapped, first, second)
        return self.space.clip(children[0]), self.space.clip(children[1])

    def _spread(
        self, draws: "NDArray[np.float64]", room: "NDArray[np.float64]"
    ) -> "NDArray[np.float64]":
        """Return how far apart children lie, in units of their parents' gap.

        Args:
            draws: uniform in [0, 1).
            room: to the bound on the child's side, in units of the gap.
        """
        most = 2.0 - (1.0 + 2.0 * room) ** -self._closeness
        inward = draws * most <= 1.0
        base = np.where(inward, draws * most, 1.0 / (2.0 - np.where(inward, 0.0, draws * most)))
        return np.asarray(base ** (1.0 / self._closeness))

    def _mutate(self, point: "Genome") -> "Genome":
        """Change some genes: numbers by small steps within bounds, choices to others."""
        changed, draws = self._rng.random(self.dimension), self._rng.random(self.dimension)
        changes = changed < self._mutation
        down = draws < 0.5
        share = np.where(down, 2.0 * draws, 2.0 * (1.0 - draws))
        room = np.where(down, point, 1.0 - point)
        reach = 1.0 - (share + (1.0 - share) * (1.0 - room) ** self._fineness) ** (
            1.0 / self._fineness
        )
        numbers = np.where(down, point - reach, point + reach)
        sizes = np.array([max(len(gene.choices), 1) for gene in self.space.genes])
        steps = 1 + np.floor(draws * (sizes - 1))
        choices = (point + steps / sizes) % 1.0
        moved = np.where(self.space.choosing, choices, numbers)
        return self.space.clip(np.where(changes, moved, point))
