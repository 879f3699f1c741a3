"""What evolution strategies share: generations, and a warm start (Nomura et al., 2021).

https://arxiv.org/abs/2012.06932

A strategy asks for a generation, and moves its distribution of genomes towards what ranked high.
With a warm start it asks for the space's known points first, and begins where the promising ones
lie. Where it has converged it may begin again somewhere else (`restarts.py`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.records import Evaluated, Origin
from evomerge.registry import suggest
from evomerge.search.base import Searcher, choose_population, drop_equals, rank
from evomerge.search.restarts import KINDS, Restarts, Schedule
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

SIGMA = 1 / 6
"""Initial step size where none is given (Akiba et al., 2024)."""
PROMISING = 0.1
"""Share of the known points around which a warm start begins (γ there); at least one."""
NARROWEST = 1e-4
"""Least width around promising points: of narrower ones no covariances can be computed."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where a distribution begins.

    Attributes:
        mean: of numbers, where no point is promising; shape (genes,).
        sigma: step size, in units of the cube's edge.
        population: genomes per generation.
        seed: of the draws, in [0, 2^32).
        promising: points around which it begins, at distances of `sigma`.
    """

    mean: "Genome"
    sigma: float
    population: int
    seed: int
    promising: "Sequence[Genome]" = ()


class Distribution(ABC):
    """A distribution of points of the unit cube."""

    @property
    @abstractmethod
    def mean(self) -> "Genome":
        """The point in its middle: the likeliest choices, the means of numbers; shape (genes,)."""

    @abstractmethod
    def draw(self, count: int) -> "list[Genome]":
        """Draw a generation."""

    @abstractmethod
    def learn(self, places: Sequence[int]) -> None:
        """Move towards what ranked high of the generation drawn last; place 0 is the best."""

    @abstractmethod
    def has_converged(self) -> bool:
        """Tell whether it is too narrow, too wide or too flat to learn any more."""


class EvolutionStrategy(Searcher):
    """A searcher that moves a distribution. Subclasses say how it begins, in `_begin`.

    Args:
        space: the genes.
        seed: everything random derives from it.
        population: genomes per generation; 4 + ⌊3 ln n⌋ if absent.
        mean: where numbers begin, shape (genes,).
        sigma: initial step size, in units of the cube's edge.
        warm_start: whether the known points are asked first.
        restarts: whether it begins again after it has converged, and how.

    Raises:
        ValueError: an option has an impossible value.
    """

    name: ClassVar[str]

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        population: int | None,
        mean: "Genome",
        sigma: float,
        warm_start: bool,
        restarts: Restarts,
    ) -> None:
        super().__init__(space, seed=seed)
        if restarts not in KINDS:
            hint = suggest(restarts, list(KINDS)) or "; expected none, ipop or bipop"
            raise ValueError(f"{self.name} knows no restarts {restarts!r}{hint}")
        # the package needs two genes; a lone one gets an idle companion
        size = choose_population(self.name, population, max(len(space), 2))
        self._rng = np.random.default_rng(seed)
        self._schedule = Schedule(restarts, size, self._rng) if restarts != "none" else None
        self._first = self._beginning = Beginning(mean, float(sigma), size, seed % 2**32)
        self._distribution = self._begin(self._first)
        self._known = drop_equals(space.known.values()) if warm_start else []
        self.batch = len(self._known) or size
        self._learned = False
        self._spent = self._flat = 0
        self._most: int | None = None
        self._midway: tuple[float, ...] = ()
        self._ended: tuple[tuple[float, ...], Genome] | None = None

    @abstractmethod
    def _begin(self, beginning: Beginning) -> Distribution:
        """Return a distribution that has learned nothing."""

    def recommend(self) -> "list[Genome]":
        """Return the distribution's mean, less lucky than the best sample; and the best before it.

        Of searches that ended in a restart, that is the mean of the one whose last generation was
        best in its middle.
        """
        means = [self._distribution.mean] if self._learned else []
        means += [self._ended[1]] if self._ended else []
        return drop_equals([self.space.settle(mean) for mean in means])

    def _ask(self, count: int) -> "list[Genome]":
        known = self._known[:count]
        drawn = self._distribution.draw(count - len(known))
        self._born = [Origin("known")] * len(known) + [Origin()] * len(drawn)
        return known + drawn

    def _tell(self, results: Sequence[Evaluated]) -> None:
        if len(results) != self.batch:
            return  # the budget ended within a generation
        if self._known:
            self._warm_up(results)
        else:
            self._learn(results)

    def _warm_up(self, results: Sequence[Evaluated]) -> None:
        """Begin at what is promising of the known points; where all failed, as without them."""
        self._known, self.batch = [], self._first.population
        good = sorted(filter(_stands, results), key=_merit, reverse=True)
        best = [result.genome for result in good[: max(1, int(PROMISING * len(results)))]]
        if best:
            self._distribution = self._begin(replace(self._first, promising=best))
            self._learned = True

    def _learn(self, results: Sequence[Evaluated]) -> None:
        self._distribution.learn(rank(results))
        self._learned = True
        self._spent += len(results)
        merits = sorted(map(_merit, results))
        self._midway = merits[len(merits) // 2]
        self._flat = self._flat + 1 if merits[0] == merits[-1] else 0
        if self._schedule and self._has_ended(results):
            self._restart(self._schedule)

    def _has_ended(self, results: Sequence[Evaluated]) -> bool:
        """Tell whether nothing more is to be learned where the search is."""
        patience = 10 + math.ceil(30 * self.dimension / len(results))
        return (
            len({result.genome.tobytes() for result in results}) == 1
            or self._flat >= patience
            or (self._most is not None and self._spent >= self._most)
            or self._distribution.has_converged()
        )

    def _restart(self, schedule: Schedule) -> None:
        """Begin again, anywhere."""
        if self._ended is None or self._midway > self._ended[0]:
            self._ended = self._midway, self._distribution.mean
        new = schedule.next(self._spent)
        mean, seed = self._rng.random(self.dimension), int(self._rng.integers(2**32))
        sigma = self._first.sigma * new.step
        self._distribution = self._begin(Beginning(mean, sigma, new.population, seed))
        self.batch, self._most = new.population, new.most
        self._learned, self._spent, self._flat = False, 0, 0


def fit_normal(
    points: "Sequence[Genome]", sigma: float
) -> "tuple[Genome, float, NDArray[np.float64]]":
    """Return the normal distribution that is nearest to one of width `sigma` around every point.

    Args:
        points: at least one, each of shape (numbers,).
        sigma: > 0.

    Returns:
        Mean of shape (numbers,), step size, and covariances of shape (numbers, numbers).
    """
    import cmaes

    width = max(sigma, NARROWEST)
    # in units of the width the determinant of the covariances is at least 1, of any number of genes
    scaled = [(point / width, 0.0) for point in points]
    mean, size, covariances = cmaes.get_warm_start_mgd(scaled, gamma=1.0, alpha=1.0)
    return mean * width, size * width, covariances


def _stands(result: Evaluated) -> bool:
    return result.standing > 0


def _merit(result: Evaluated) -> tuple[float, ...]:
    return result.rank_key
