"""CMA-ES: covariance matrix adaptation evolution strategy (Hansen and Ostermeier, 2001).

https://doi.org/10.1162/106365601750190398

The algorithm is the `cmaes` package's; the defaults are those of Akiba et al. (2024): mean 0.5,
step size 1/6, population 4 + ⌊3 ln n⌋. Learning rates may adapt to noise (Nomura et al., 2023:
https://arxiv.org/abs/2304.03473).
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evomerge.search.evolution_strategy import (
    SIGMA,
    Beginning,
    Distribution,
    EvolutionStrategy,
    fit_normal,
)
from evomerge.search.restarts import Restarts
from evomerge.search.sep_cma import Separable
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

logger = logging.getLogger(__name__)

MOST_GENES = 300
"""Above it covariances take too long: 0.4 s a generation at 256 genes, 7.6 s at 1,024."""


class CMA(EvolutionStrategy):
    """CMA-ES with all covariances on the unit cube; above 300 genes `sep_cma`, with a notice.

    Args:
        space: the genes, of which those with choices share [0, 1] in equal parts.
        seed: of the draws.
        population: genomes per generation; 4 + ⌊3 ln n⌋ if absent; at least 4, of which
            the better half are recombined.
        mean: where every coordinate starts, in [0, 1]; or 'random', each somewhere else; if
            absent where the genes say, and 0.5 where they do not.
        sigma: initial step size, in units of the cube's edge.
        warm_start: ask for the space's known points first, and begin where the best of them lie.
        restarts: begin again, anywhere, once the search has converged: 'ipop' with twice the
            population, 'bipop' in turn with twice the population and with a small one.
        learning_rate_adaptation: learn the more slowly the noisier scores are; of use where every
            generation meets few items of its own. It needs steps no larger than the default.
    """

    name: ClassVar[str] = "cma"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        mean: float | Literal["random"] | None = None,
        sigma: float = SIGMA,
        warm_start: bool = False,
        restarts: Restarts = "none",
        learning_rate_adaptation: bool = False,
    ) -> None:
        start = np.full(len(space), space.start() if mean in (None, "random") else mean)
        if mean == "random":
            start = np.random.default_rng(seed).random(len(space))
        if not np.all((start >= 0.0) & (start <= 1.0)) or not 0.0 < sigma <= 10.0:
            raise ValueError("cma needs a mean in [0, 1] and a sigma in (0, 10]")
        self._adapts = learning_rate_adaptation
        super().__init__(
            space,
            seed=seed,
            population=population,
            mean=start,
            sigma=sigma,
            warm_start=warm_start,
            restarts=restarts,
        )

    def _begin(self, beginning: Beginning) -> Distribution:
        if self.dimension > MOST_GENES:
            return Separable(self.space, beginning)
        return FullCovariance(beginning, self._adapts)

    def _ask(self, count: int) -> "list[Genome]":
        if self.dimension > MOST_GENES and not self.asked:
            logger.warning(
                "%d genes are too many for cma, whose generations take seconds above %d: "
                "the search goes on as sep_cma, which learns no covariances",
                self.dimension,
                MOST_GENES,
            )
        return super()._ask(count)


class FullCovariance(Distribution):
    """A normal distribution with all covariances, cut off at the faces of the cube."""

    def __init__(self, beginning: Beginning, adapts: bool) -> None:
        import cmaes

        self._genes = len(beginning.mean)
        width = max(self._genes, 2)  # the package needs two; a lone gene gets an idle companion
        mean, sigma, covariances = np.full(width, 0.5), beginning.sigma, np.eye(width)
        mean[: self._genes] = beginning.mean
        if beginning.promising:
            own = slice(self._genes)
            mean[own], sigma, covariances[own, own] = fit_normal(beginning.promising, sigma)
        self._algorithm = cmaes.CMA(
            mean=mean,
            sigma=sigma,
            bounds=np.tile([0.0, 1.0], (width, 1)),
            seed=beginning.seed,
            population_size=beginning.population,
            cov=covariances,
            lr_adapt=adapts,
        )
        self._points: list[Genome] = []

    @property
    def mean(self) -> "Genome":
        """The mean, shape (genes,)."""
        return np.array(self._algorithm.mean[: self._genes])

    def draw(self, count: int) -> "list[Genome]":
        """Draw points inside the cube, again where one lies outside."""
        self._points = [self._algorithm.ask() for _ in range(count)]
        return [point[: self._genes] for point in self._points]

    def learn(self, places: Sequence[int]) -> None:
        """Update mean, step size and covariances."""
        self._algorithm.tell(list(zip(self._points, places, strict=True)))

    def has_converged(self) -> bool:
        """Tell what the package's criteria say."""
        return bool(self._algorithm.should_stop())
