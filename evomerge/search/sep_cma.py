"""Separable CMA-ES (Ros and Hansen, 2008): a variance for every gene, no covariances.

https://doi.org/10.1007/978-3-540-87700-4_30

The algorithm is the `cmaes` package's. Its time is linear in the number of genes, so it can search
a whole matrix of scales. Choices are encoded as data-flow space was first searched (Akiba et al.,
2024): by thresholds on a normal coordinate.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.search.base import Kind
from evomerge.search.evolution_strategy import SIGMA, Beginning, Distribution, EvolutionStrategy
from evomerge.search.restarts import Restarts
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

NORMAL = NormalDist()
RAREST = 1e-9
"""Shares are kept so far from 0 and 1, whose coordinates are infinite."""


class SepCMA(EvolutionStrategy):
    """Separable CMA-ES; a choice is where a coordinate lies between thresholds.

    All coordinates begin as standard normal ones. A number's is stretched by `sigma` about its
    start; the thresholds of a gene with choices are where its chances say, so that the first
    generation draws each as likely as it shall be. A gene without effect is told at the
    distribution's mean.

    Args:
        space: the genes.
        seed: of the draws.
        population: genomes per generation, at least 4; 4 + ⌊3 ln n⌋ if absent.
        sigma: initial step size of numbers, in units of the cube's edge.
        warm_start: ask for the space's known points first, and begin where the best of them lie.
        restarts: begin again, anywhere, once the search has converged: 'ipop' with twice the
            population, 'bipop' in turn with twice the population and with a small one.
    """

    name: ClassVar[str] = "sep_cma"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"continuous", "mixed"})

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        sigma: float = SIGMA,
        warm_start: bool = False,
        restarts: Restarts = "none",
    ) -> None:
        if not 0.0 < sigma <= 10.0:
            raise ValueError("sep_cma needs a sigma in (0, 10]")
        super().__init__(
            space,
            seed=seed,
            population=population,
            mean=space.start(),
            sigma=sigma,
            warm_start=warm_start,
            restarts=restarts,
        )

    def _begin(self, beginning: Beginning) -> Distribution:
        return Separable(self.space, beginning)


class Separable(Distribution):
    """A normal coordinate for every gene, independent of the others."""

    def __init__(self, space: SearchSpace, beginning: Beginning) -> None:
        import cmaes

        self._space, self._genes = space, len(space)
        self._centre, self._stretch = beginning.mean, np.full(len(space), beginning.sigma)
        mean = np.zeros(max(len(space), 2))  # the package needs two
        if beginning.promising:
            mean[: len(space)] = self._begin_at(np.array(beginning.promising))
        self._algorithm = cmaes.SepCMA(
            mean=mean, sigma=1.0, seed=beginning.seed, population_size=beginning.population
        )
        self._points: list[Genome] = []

    def _begin_at(self, points: "NDArray[np.float64]") -> "Genome":
        """Stretch numbers over all points; return the mean of the coordinates of choices."""
        self._centre = points.mean(axis=0)
        self._stretch = np.sqrt(self._stretch**2 + points.var(axis=0))
        means = np.zeros(self._genes)
        for index in np.flatnonzero(self._space.choosing):
            gene = self._space.genes[index]
            means[index] = np.mean([_coordinate(gene, place) for place in points[:, index]])
        return means

    @property
    def mean(self) -> "Genome":
        """The point of the mean coordinates, shape (genes,)."""
        return self._place(self._algorithm.mean)

    def draw(self, count: int) -> "list[Genome]":
        """Draw points; numbers outside the cube are moved to its faces."""
        self._points = [self._algorithm.ask() for _ in range(count)]
        return [self._place(point) for point in self._points]

    def learn(self, places: Sequence[int]) -> None:
        """Update means, step size and variances."""
        points = [self._disarm(point) for point in self._points]
        self._algorithm.tell(list(zip(points, places, strict=True)))

    def has_converged(self) -> bool:
        """Tell what the package's criteria say."""
        return bool(self._algorithm.should_stop())

    def _place(self, point: "Genome") -> "Genome":
        """Return the point of the unit cube for one of normal coordinates."""
        own, choosing = point[: self._genes], self._space.choosing
        numbers = self._centre + self._stretch * own
        shares = [NORMAL.cdf(x) if c else 0.0 for x, c in zip(own, choosing, strict=True)]
        choices = self._space.quantile(np.array(shares))
        return self._space.clip(np.where(choosing, choices, numbers))

    def _disarm(self, point: "Genome") -> "Genome":
        """Put what has no effect at the mean, where it moves nothing, and numbers into bounds."""
        placed, told = self._place(point), point.copy()
        own = told[: self._genes]  # a view
        own[:] = np.where(self._space.choosing, own, (placed - self._centre) / self._stretch)
        idle = ~self._space.effective(placed)
        own[idle] = self._algorithm.mean[: self._genes][idle]
        return told


def _coordinate(gene: Gene, place: float) -> float:
    """Return the middle, by share of draws, of the coordinates that give a choice."""
    index = gene.choices.index(gene.value(place))
    share = sum(gene.odds[:index]) + gene.odds[index] / 2
    return NORMAL.inv_cdf(min(max(share, RAREST), 1.0 - RAREST))
