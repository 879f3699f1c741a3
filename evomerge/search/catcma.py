"""CatCMA with margin (Hamano et al., 2025): CMA-ES for numbers and choices together.

https://arxiv.org/abs/2504.07884

The algorithm is the `cmaes` package's. Every gene with choices has a probability for each, all
numbers share a normal distribution; both are drawn towards what ranked high. A margin keeps every
choice possible.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evomerge.search.base import Kind
from evomerge.search.evolution_strategy import (
    SIGMA,
    Beginning,
    Distribution,
    EvolutionStrategy,
    fit_normal,
)
from evomerge.search.restarts import Restarts
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

MOST_NUMBERS = 1000
"""Above it, the covariance of numbers takes seconds and gigabytes a generation."""
KEPT = 0.73
"""Chance that a genome has no choice that only the margin makes possible (section 4 there)."""


class CatCMA(EvolutionStrategy):
    """CatCMA with margin: probabilities of choices beside a normal distribution of numbers.

    A gene without effect is told at the distribution's mean, so that it moves nothing.

    Args:
        space: the genes; numbers begin at their starts, choices with their chances.
        seed: of the draws.
        population: genomes per generation, at least 4; 4 + ⌊3 ln n⌋ if absent.
        sigma: initial step size of numbers, in units of the cube's edge.
        warm_start: ask for the space's known points first, and begin where the best of them lie.
        restarts: begin again, anywhere, once the search has converged: 'ipop' with twice the
            population, 'bipop' in turn with twice the population and with a small one.
    """

    name: ClassVar[str] = "catcma"
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
            raise ValueError("catcma needs a sigma in (0, 10]")
        check_numbers(self.name, space)
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
        return Mixed(self.space, beginning)


class Mixed(Distribution):
    """Probabilities of choices beside a normal distribution of numbers: the package's, as points.

    Attributes:
        algorithm: the package's.
        spaces: ranges of numbers and sizes of choices, as the package takes them.
    """

    def __init__(self, space: SearchSpace, beginning: Beginning) -> None:
        import cmaes

        self._space = space
        self._choices = np.flatnonzero(space.choosing)
        self._numbers = np.flatnonzero(~space.choosing)
        self._sizes = np.array([len(space.genes[k].choices) for k in self._choices], dtype=int)
        mean, sigma = beginning.mean[self._numbers], beginning.sigma
        covariances = np.eye(len(mean))
        if beginning.promising and len(mean):
            points = [point[self._numbers] for point in beginning.promising]
            mean, sigma, covariances = fit_normal(points, sigma)
        self.spaces = {"x_space": [[0.0, 1.0]] * len(mean), "c_space": list(self._sizes)}
        self.algorithm = cmaes.CatCMAwM(
            **self.spaces,
            population_size=beginning.population,
            mean=mean,
            sigma=sigma,
            cov=covariances,
            cat_param=self._probabilities(beginning.promising),
            seed=beginning.seed,
        )
        self._solutions: list[Any] = []

    @property
    def mean(self) -> "Genome":
        """The likeliest choices and the mean of numbers, shape (genes,)."""
        return self.place(*self.parameters())

    def draw(self, count: int) -> "list[Genome]":
        """Draw points; numbers outside the cube are moved to its faces."""
        self._solutions = [self.algorithm.ask() for _ in range(count)]
        return [self.place(solution.x, solution.c) for solution in self._solutions]

    def learn(self, places: Sequence[int]) -> None:
        """Update both distributions."""
        solutions = [self.disarm(solution) for solution in self._solutions]
        self.algorithm.tell(list(zip(solutions, places, strict=True)))

    def has_converged(self) -> bool:
        """Tell what the package's criteria say, which look at numbers only."""
        return len(self._numbers) > 0 and bool(self.algorithm.should_stop())

    def place(
        self, numbers: "NDArray[np.float64] | None", choices: "NDArray[np.float64] | None"
    ) -> "Genome":
        """Return the point of numbers, and of the greatest in every row of choices."""
        point = np.empty(len(self._space))
        if numbers is not None:
            point[self._numbers] = numbers
        if choices is not None:
            point[self._choices] = (choices.argmax(axis=1) + 0.5) / self._sizes
        return point

    def disarm(self, solution: Any) -> Any:
        """Put what has no effect at the distribution's mean, where it moves nothing."""
        effective = self._space.effective(self.place(solution.x, solution.c))
        mean, chances = self.parameters()
        numbers, choices = solution._v_raw, solution.c
        if mean is not None:
            numbers = np.where(effective[self._numbers], numbers, mean)
        if chances is not None:
            choices = np.where(effective[self._choices, None], choices, chances)
        return replace(solution, _v_raw=numbers, c=choices)

    def parameters(self) -> "tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]":
        """Return the mean of numbers and the probabilities of choices; None where there are none.

        The package shows neither.
        """
        numbers = self.algorithm._mean if len(self._numbers) else None
        return numbers, self.algorithm._q if len(self._choices) else None

    def _probabilities(self, promising: "Sequence[Genome]") -> "NDArray[np.float64]":
        """Return the chances of the choices, none below the margin; one row a gene, filled up.

        What is promising has a say of one half.
        """
        table = np.zeros((len(self._sizes), max(self._sizes, default=0)))
        for row, index, size in zip(table, self._choices, self._sizes, strict=True):
            gene = self._space.genes[index]
            chances = np.array(gene.odds)
            for point in promising:
                kept = gene.choices.index(gene.value(point[index]))
                row[kept] += 0.5 / len(promising)
            row[:size] += chances / 2 if promising else chances
            margin = (1.0 - KEPT ** (1.0 / len(self._sizes))) / (size - 1)
            row[:size] = _raise_to(margin, row[:size])
        return table


def check_numbers(name: str, space: SearchSpace) -> None:
    """Refuse a space of too many numbers.

    Raises:
        ValueError: the covariance of so many cannot be learned.
    """
    numbers = int((~space.choosing).sum())
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"{name} learns the covariance of at most {MOST_NUMBERS} numbers, this space has "
            f"{numbers}; sep_cma has no such limit"
        )


def _raise_to(margin: float, chances: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return chances none of which is below the margin, as the algorithm keeps them."""
    raised = np.maximum(chances, margin)
    spare = raised - margin
    excess = float(raised.sum()) - 1.0
    return raised - spare * (excess / float(spare.sum()))
