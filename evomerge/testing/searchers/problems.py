"""Problems that searchers are measured on: small, and with a known optimum.

Where searches begin (the middle of the cube, unless a gene says otherwise) is nowhere an optimum,
so that nobody is given what is to be found.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from evomerge.pareto import hypervolume
from evomerge.records import Evaluated
from evomerge.search.base import Kind
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

Worth = Callable[[Sequence[Evaluated]], float]


@dataclass(frozen=True)
class Problem:
    """What is to be searched, and how a search is measured.

    Attributes:
        name: what it is called.
        space: the genes.
        judge: tells what a genome earns.
        evaluations: the budget.
        worth: what all results of a search are worth, higher is better.
        optimum: the most they can be worth.
        margin: by which share of what is missing to the optimum a search must be nearer to it
            than random search is, in the median over seeds.
        goals: how many objectives there are.
    """

    name: str
    space: SearchSpace
    judge: "Callable[[Genome], Evaluated]"
    evaluations: int
    worth: Worth
    optimum: float
    margin: float
    goals: int = 1


def find_best(results: Sequence[Evaluated]) -> float:
    """Return the best objective."""
    return max(result.objectives[0] for result in results)


def _numbers(count: int) -> SearchSpace:
    return SearchSpace([Gene(f"{k}") for k in range(count)])


def sphere(point: "Genome") -> Evaluated:
    """Return minus the squared distance from a target whose coordinates differ."""
    target = np.linspace(0.2, 0.8, len(point))
    return Evaluated(point, (-float(((point - target) ** 2).sum()),))


def rastrigin(point: "Genome") -> Evaluated:
    """Return minus Rastrigin's function (1974), ten units wide, its minimum off the middle."""
    x = 10.24 * (point - 0.5) - 1.5
    return Evaluated(point, (-float((x**2 - 10.0 * np.cos(2 * math.pi * x) + 10.0).sum()),))


SWITCHES = SearchSpace(
    [Gene(f"use {k}", choices=(False, True), chances=(0.7, 0.3)) for k in range(10)]
    + [Gene(f"scale {k}", 0.5, 1.5, start=1.0, needs=f"use {k}") for k in range(10)]
)


def one_max(point: "Genome") -> Evaluated:
    """Return how many switches are on, each less what its number is off the mark."""
    on, scales = point[:10] > 0.5, 0.5 + point[10:]
    return Evaluated(point, (float((on * (1.0 - 4.0 * (scales - 1.3) ** 2)).sum()),))


def zdt1(point: "Genome") -> Evaluated:
    """ZDT1 (Zitzler, Deb and Thiele, 2000), both goals turned: https://doi.org/10.1162/106365600568202."""
    first, g = float(point[0]), 1.0 + 9.0 * float(point[1:].mean())
    goals = (-first, -g * (1.0 - math.sqrt(first / g)))
    return Evaluated(point, goals, overall=fmean(goals))


def dtlz2(point: "Genome") -> Evaluated:
    """DTLZ2 of three goals (Deb et al., 2002), turned: https://doi.org/10.1109/CEC.2002.1007032.

    The front, an eighth of a sphere, lies where the other genes are 0.7, and not in the middle.
    """
    a, b = point[:2] * math.pi / 2
    radius = 1.0 + float(((point[2:] - 0.7) ** 2).sum())
    goals = (
        -radius * math.cos(a) * math.cos(b),
        -radius * math.cos(a) * math.sin(b),
        -radius * math.sin(a),
    )
    return Evaluated(point, goals, overall=fmean(goals))


def cover(reference: tuple[float, ...]) -> Worth:
    """Return a measure: the hypervolume of all that was found."""
    return lambda results: hypervolume([result.objectives for result in results], reference)


ZDT1, DTLZ2 = 2.75 - 1 / 3, 1.5**3 - math.pi / 6
"""What lies between the fronts and the references that `PROBLEMS` names."""
LAYERS, NICHES, GRADES = 4, 4, 25
EXPERTS = {
    f"expert {k}": np.where(np.arange(NICHES * LAYERS) // LAYERS == k, 0.8, 0.3)
    for k in range(NICHES)
}
NICHES_SPACE = SearchSpace([Gene(f"{k}") for k in range(NICHES * LAYERS)], known=EXPERTS)


def niches(point: "Genome") -> Evaluated:
    """Return the share of items that are solved, and which.

    A niche is four genes and 25 items, from easy to hard: the nearer its genes are to 0.8, the
    more of its items are solved. Each of the points that are known is good at one niche.
    """
    off = ((point.reshape(NICHES, LAYERS) - 0.8) ** 2).mean(axis=1)
    items = {
        f"niche {k} item {grade}": float(off[k] < 0.03 * (1.0 - grade / GRADES) ** 2)
        for k in range(NICHES)
        for grade in range(GRADES)
    }
    solved = fmean(items.values())
    return Evaluated(point, (solved,), items, len(items), measures={"niches": solved})


PROBLEMS: Mapping[Kind, tuple[Problem, ...]] = {
    "continuous": (
        Problem("sphere of 10 genes", _numbers(10), sphere, 400, find_best, 0.0, 0.7),
        Problem("Rastrigin of 6 genes", _numbers(6), rastrigin, 600, find_best, 0.0, 0.1),
    ),
    "mixed": (
        Problem("one-max of 10 switches, 10 numbers", SWITCHES, one_max, 400, find_best, 10.0, 0.3),
    ),
    "multi_objective": (
        Problem("ZDT1 of 8 genes", _numbers(8), zdt1, 500, cover((-1.1, -2.5)), ZDT1, 0.3, 2),
        Problem("DTLZ2 of 7 genes", _numbers(7), dtlz2, 500, cover((-1.5,) * 3), DTLZ2, 0.15, 3),
    ),
    "per_item": (Problem("4 niches of 4 genes", NICHES_SPACE, niches, 400, find_best, 1.0, 0.2),),
}
