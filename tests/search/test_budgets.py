"""Within a small budget, every searcher that learns beats drawing at random."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from evomerge.search import SEARCHERS, Searcher
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

    Objective: TypeAlias = Callable[[Genome], float]
    Spend: TypeAlias = Callable[[Searcher, int, Objective], list[Genome]]

LEARNING = ("catcma", "cma", "mixed_ga", "sep_cma")
ITEMS = 200


def make(name: str, space: SearchSpace, seed: int) -> Searcher:
    kind: Callable[..., Searcher] = SEARCHERS.get(name)
    return kind(space, seed=seed)


def find_best(searcher: Searcher, spend: "Spend", objective: "Objective", budget: int) -> float:
    spend(searcher, budget, objective)
    assert searcher.best is not None
    return searcher.best.objectives[0]


@pytest.mark.parametrize("name", LEARNING)
def test_on_a_sphere_of_ten_numbers(name: str, spend: "Spend") -> None:
    def sphere(point: "Genome") -> float:
        return -float(((point - 0.8) ** 2).sum())

    space = SearchSpace([Gene(f"{k}") for k in range(10)])
    for seed in range(6):
        found, drawn = (
            find_best(make(n, space, seed), spend, sphere, 300) for n in (name, "random")
        )
        assert found - drawn > 0.1


@pytest.mark.parametrize("name", LEARNING)
def test_on_one_max_with_a_number_behind_every_switch(
    name: str, spend: "Spend", switches: SearchSpace
) -> None:
    """A switch that is on earns 1, less what its number is off the mark: at most 10."""

    def one_max(point: "Genome") -> float:
        values = switches.decode(point)
        marks = [(values[f"use {k}"], float(values[f"scale {k}"])) for k in range(10)]
        return sum(1.0 - 4.0 * (scale - 1.3) ** 2 for on, scale in marks if on)

    for seed in range(4):
        found, drawn = (
            find_best(make(n, switches, seed), spend, one_max, 400) for n in (name, "random")
        )
        assert found > 7.0
        assert found - drawn > 1.0


class SimulatedPath:
    """Two models of `depth` layers, and what a path through them would answer rightly.

    Most of the first model's layers help, few of the second's do; every hop has a scale that
    suits its pair of layers. Where the search begins (all of the first model's layers, no
    scales), half of the items are answered rightly; an observation is the share among 200.
    """

    def __init__(self, depth: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        own = np.arange(2 * depth) < depth
        self.depth = depth
        helpful = rng.normal(0.35, 0.15, 2 * depth)
        harmful = -np.abs(rng.normal(0.35, 0.2, 2 * depth))
        self.gains = np.where(rng.random(2 * depth) < np.where(own, 0.85, 0.3), helpful, harmful)
        spread = np.where(own[:, None] == own[None, :], 0.08, 0.25)
        self.suited = rng.normal(0.0, spread)
        self.offset = self.gains[:depth].sum() - 3.0 * self._misfit(np.arange(depth), {})
        self.space = SearchSpace([*self._switches(own), *self._scales()])

    def accuracy(self, point: "Genome") -> float:
        values = self.space.decode(point)
        ends = {0, self.depth - 1}
        used = [k for k in range(2 * self.depth) if k in ends or values[f"use {k}"]]
        path = np.array(sorted(used, key=lambda k: (k % self.depth, -k)))
        logs = {k: math.log(float(values[f"scale {k}"])) for k in path if k not in ends}
        logit = self.gains[path].sum() - 3.0 * self._misfit(path, logs) - self.offset
        return 1.0 / (1.0 + math.exp(-logit))

    def observe(self, seed: int) -> "Objective":
        rng = np.random.default_rng(seed)
        return lambda point: float(rng.binomial(ITEMS, self.accuracy(point))) / ITEMS

    def _misfit(self, path: "np.ndarray", logs: dict[int, float]) -> float:
        steps = pairwise(path)
        return sum((logs.get(to, 0.0) - self.suited[source, to]) ** 2 for source, to in steps)

    def _switches(self, own: "np.ndarray") -> list[Gene]:
        free = [k for k in range(2 * self.depth) if k not in (0, self.depth - 1)]
        chances = {k: 0.95 if own[k] else 0.16 for k in free}
        return [
            Gene(f"use {k}", choices=(False, True), chances=(1 - chance, chance))
            for k, chance in chances.items()
        ]

    def _scales(self) -> list[Gene]:
        free = [k for k in range(2 * self.depth) if k not in (0, self.depth - 1)]
        return [Gene(f"scale {k}", 0.5, 1.5, start=1.0, needs=f"use {k}") for k in free]


@pytest.mark.parametrize("name", LEARNING)
def test_on_a_simulated_path_what_is_recommended_is_truly_better(name: str, spend: "Spend") -> None:
    """Paths of 10 + 10 layers, 600 noisy observations; random search offers its luckiest."""
    lead = []
    for seed in range(5):
        path = SimulatedPath(10, seed)
        drawn = make("random", path.space, seed)
        spend(drawn, 600, path.observe(seed))
        assert drawn.best is not None
        searcher = make(name, path.space, seed)
        spend(searcher, 600, path.observe(seed))
        found = path.accuracy(searcher.recommend()[0])
        lead.append(found - path.accuracy(drawn.best.genome))
    assert np.mean(lead) > 0.05
