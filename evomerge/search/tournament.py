"""EvoMerge's tournament (DNYoussef, 2024): winners are varied, losers are merged with each other.

https://github.com/DNYoussef/AIVillage (agent_forge/evomerge)

Two rules decide who has children. `elite`, the original's first: the best two get three mutants
each, the six others are merged in groups of three into two children. `nsga2`, its later one, over
several goals: survivors by fronts and crowding (Deb et al., 2002), whose tournaments' winners get
mutants and, a quarter of a generation, mergers of two. https://doi.org/10.1109/4235.996017

What deviates from the original: the best are kept, so that nothing found is lost; a mutation
changes techniques and parameters of a merge, not every weight of a model by noise (which at its
rate of 0.1 leaves no language model standing); diversity is the distance of genomes, not of all
weights; the rate may rise to 0.5, where the original never let it rise above its start.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evomerge.pareto import choose_survivors, non_dominated_sort, rank_crowded
from evomerge.records import Evaluated, Origin
from evomerge.search.base import MANY, Kind, Searcher, drop_equals
from evomerge.search.selection import Entrant, tabulate
from evomerge.search.variation import draw_near_start
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Rule = Literal["elite", "nsga2"]
Child = tuple["Genome", Origin]

WINNERS = 4
"""One in so many is a winner (elite), or a child a merger (nsga2): two of eight."""
RATES = (0.001, 0.5)
"""Between which an adaptive rate stays."""
FASTER, SLOWER = 1.1, 0.9
MOST_CHANGES = 3.0
"""Genes that a mutation changes, on average, at most; at least one it always does."""
SPREAD = 0.25
"""How far numbers of the first generation lie from their starts, in units of the cube's edge."""
ATTEMPTS = 20
"""Mutations of a genome that was proposed before, until it may be proposed again."""


class Tournament(Searcher):
    """Generations in which winners get mutants and losers are merged.

    The first generation holds the space's known points, all of them, filled up with draws around
    its start.

    Args:
        space: the genes; its `blend` makes a child of several losers.
        seed: of the draws.
        population: genomes per generation, at least 2.
        rule: 'elite' or 'nsga2'; if absent, nsga2 where it is told of several goals.
        mutation_rate: chance of a gene to change, and step of a number in units of its range; in
            (0, 1].
        adaptive: whether that rises by a tenth after a generation that lies closer together than
            the one before, and else falls by a tenth.
        tournament_size: losers that are merged into one child (elite), or of how many drawn by lot
            the best becomes a parent (nsga2); 2 to `population`.
        patience: generations without improvement after which the search ends; never if absent.

    Attributes:
        mutation_rate: as it is now.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"continuous", "mixed", "multi_objective"})
    goals: ClassVar[tuple[int, int]] = (1, MANY)

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 8,
        rule: Rule | None = None,
        mutation_rate: float = 0.1,
        adaptive: bool = True,
        tournament_size: int | None = None,
        patience: int | None = None,
    ) -> None:
        super().__init__(space, seed=seed)
        size = min(3, population) if tournament_size is None else tournament_size
        _check(population, rule, mutation_rate, size, patience)
        self.mutation_rate = mutation_rate
        self._population, self._rule, self._adaptive = population, rule, adaptive
        self._size, self._patience = size, patience
        self._rng = np.random.default_rng(seed)
        self._founders = drop_equals(space.known.values())
        self.batch = max(population, len(self._founders))
        self._entrants: list[Entrant] = []
        self._earned: set[tuple[float, ...]] = set()
        self._diversity = math.inf
        self._idle = 0

    @property
    def finished(self) -> bool:
        """Whether nothing has improved for `patience` generations."""
        return self._patience is not None and self._idle >= self._patience

    def remarks(self) -> list[str]:
        """Say why the search has ended, where it was for want of improvement."""
        if not self.finished:
            return []
        told = f"no improvement in {self._patience} generation{'s' * (self._patience != 1)}"
        return [f"the search ended after {self.told} candidates: {told}"]

    def _ask(self, count: int) -> "list[Genome]":
        born: list[Child] = []
        seen = set(self._seen)
        for point, origin in (self._breed() if self._entrants else self._found())[:count]:
            fresh = self._renew(point, seen)
            seen.add(fresh.tobytes())
            born.append((fresh, origin))
        while len(born) < count:  # more than a generation was asked for
            born.append((self._draw(), Origin()))
        self._born = [origin for _, origin in born]
        return [point for point, _ in born]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        first = self.told - len(results)
        young = [Entrant(first + k, result) for k, result in enumerate(results)]
        old = self._survivors()
        self._entrants = _without_twins([*old, *young])
        self.batch = self._population
        self._idle = 0 if self._have_improved(old, young) else self._idle + 1
        self._earned.update(map(_worth, young))
        diversity = _mean_distance([entrant.genome for entrant in young])
        if self._adaptive and old:
            factor = FASTER if diversity < self._diversity else SLOWER
            self.mutation_rate = min(max(self.mutation_rate * factor, RATES[0]), RATES[1])
        self._diversity = diversity

    # ------------------------------------------------------------------------------ generations
    def _found(self) -> list[Child]:
        """Return the first generation: known points, and draws around the start."""
        known = [(point, Origin("known")) for point in self._founders]
        start = self.space.settle(self.space.start())
        rest = [start, *(self._draw() for _ in range(self._population))]
        return [*known, *((point, Origin()) for point in rest)][: self.batch]

    def _breed(self) -> list[Child]:
        """Return a generation."""
        return self._breed_by_fronts() if self._fronts() else self._breed_of_elite()

    def _breed_of_elite(self) -> list[Child]:
        """Winners get mutants, groups of losers are merged."""
        winners, losers = self._divide()
        groups = self._draw_groups(losers)
        children: list[Child] = [
            (self._mutate(parent.genome), Origin("mutant", (parent.place,)))
            for k in range(self._population - len(groups))
            for parent in [winners[k % len(winners)]]
        ]
        return [*children, *map(self._merge, groups)]

    def _breed_by_fronts(self) -> list[Child]:
        """Most of a generation are mutants, others mergers of two; parents win tournaments."""
        pool = self._survivors()
        keys = rank_crowded(*tabulate(pool))
        mutants = self._population - self._population // WINNERS
        children: list[Child] = []
        for k in range(self._population):
            parents = self._draw_winners(pool, keys, 1 if k < mutants else 2)
            if len(parents) == 1:
                point = self._mutate(parents[0].genome)
                children.append((point, Origin("mutant", (parents[0].place,))))
            else:
                children.append(self._merge(parents))
        return children

    def _merge(self, parents: Sequence[Entrant]) -> Child:
        points = [parent.genome for parent in parents]
        origin = Origin("merger", tuple(parent.place for parent in parents))
        return self.space.blend(points, self._rng), origin

    # -------------------------------------------------------------------------------- selection
    def _fronts(self) -> bool:
        """Tell whether fronts decide."""
        goals = max(len(entrant.result.objectives) for entrant in self._entrants)
        return self._rule == "nsga2" or (self._rule is None and goals > 1)

    def _divide(self) -> tuple[list[Entrant], list[Entrant]]:
        """Return the winners, and the best of the losers who did not fail."""
        order = sorted(self._entrants, key=lambda e: (e.result.rank_key, -e.place), reverse=True)
        count = max(1, self._population // WINNERS)
        losers = [entrant for entrant in order[count:] if entrant.result.standing]
        return order[:count], losers[: self._population - count]

    def _draw_groups(self, losers: Sequence[Entrant]) -> list[list[Entrant]]:
        """Divide losers by lot into groups; who is left over is not merged."""
        order = self._rng.permutation(len(losers))
        count = len(losers) // self._size
        return [
            [losers[k] for k in sorted(order[g * self._size : (g + 1) * self._size])]
            for g in range(count)
        ]

    def _survivors(self) -> list[Entrant]:
        """Return those of all entrants so far that have children or compete again."""
        if not self._entrants:
            return []
        if not self._fronts():
            return self._divide()[0]
        points, violations = tabulate(self._entrants)
        return [self._entrants[k] for k in choose_survivors(points, self._population, violations)]

    def _draw_winners(
        self, pool: Sequence[Entrant], keys: Sequence[tuple[float, ...]], count: int
    ) -> list[Entrant]:
        """Hold `count` tournaments; return the winners, each once."""
        won: dict[int, None] = {}
        for _ in range(count):
            drawn = self._rng.choice(len(pool), size=min(self._size, len(pool)), replace=False)
            won[max((int(k) for k in drawn), key=lambda k: (keys[k], -k))] = None
        return [pool[k] for k in won]

    def _have_improved(self, old: Sequence[Entrant], young: Sequence[Entrant]) -> bool:
        """Tell whether a young one is better than all before, or has a new place on the front."""
        if not old:
            return True
        if self._fronts():
            front = non_dominated_sort(*tabulate(self._entrants)) == 0
            whole = [entrant for entrant in young if entrant.result.standing == 2]
            new = {entrant.place for entrant in whole if _worth(entrant) not in self._earned}
            return any(e.place in new for e, on in zip(self._entrants, front, strict=True) if on)
        best = max(entrant.result.rank_key for entrant in old)
        return max(entrant.result.rank_key for entrant in young) > best

    # --------------------------------------------------------------------------------- variation
    def _mutate(self, point: "Genome") -> "Genome":
        """Change some genes in effect, at least one: choices to others, numbers by a step."""
        child = point.copy()
        genes = np.flatnonzero(self.space.effective(point))
        chance = min(self.mutation_rate, MOST_CHANGES / len(genes))
        hit = genes[self._rng.random(len(genes)) < chance]
        for index in hit if len(hit) else [self._rng.choice(genes)]:
            size = len(self.space.genes[index].choices)
            if size:
                child[index] = (child[index] + self._rng.integers(1, size) / size) % 1.0
            else:
                step = self.mutation_rate * self._rng.standard_normal()
                child[index] = np.clip(child[index] + step, 0.0, 1.0)
        return child

    def _renew(self, point: "Genome", seen: set[bytes]) -> "Genome":
        """Mutate a genome until it is one that was not proposed before, if that can be had."""
        settled = self.space.settle(point)
        for _ in range(ATTEMPTS):
            if settled.tobytes() not in seen:
                break
            settled = self.space.settle(self._mutate(settled))
        return settled

    def _draw(self) -> "Genome":
        return draw_near_start(self.space, SPREAD, self._rng)


def _check(
    population: int, rule: Rule | None, rate: float, size: int, patience: int | None
) -> None:
    if population < 2:
        raise ValueError(f"tournament needs a population of at least 2, not {population}")
    if rule not in (None, "elite", "nsga2"):
        raise ValueError(f"tournament's rule is elite or nsga2, not {rule!r}")
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"tournament needs a mutation_rate in (0, 1], not {rate:g}")
    if not 2 <= size <= population:
        told = f"tournament needs a tournament_size from 2 to the population, {population}"
        raise ValueError(f"{told}, not {size}")
    if patience is not None and patience < 1:
        raise ValueError(f"tournament needs a patience of at least 1 generation, not {patience}")


def _without_twins(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return each genome once, where it was asked for first."""
    found: dict[bytes, Entrant] = {}
    for entrant in entrants:
        found.setdefault(entrant.genome.tobytes(), entrant)
    return list(found.values())


def _worth(entrant: Entrant) -> tuple[float, ...]:
    return (*entrant.result.objectives, entrant.result.violation)


def _mean_distance(points: "Sequence[Genome]") -> float:
    gaps = [float(np.linalg.norm(one - other)) for one, other in combinations(points, 2)]
    return sum(gaps) / len(gaps) if gaps else 0.0
