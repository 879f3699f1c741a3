"""CatCMA with margin (Hamano et al., 2025): CMA-ES for numbers and choices together.

https://arxiv.org/abs/2504.07884

The algorithm is the `cmaes` package's. Every gene with choices has a probability for each, all
numbers share a normal distribution; both are drawn towards what ranked high. A margin keeps every
choice possible.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Searcher, choose_population, rank
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

MOST_NUMBERS = 1000
"""Above it, the covariance of numbers takes seconds and gigabytes a generation."""
KEPT = 0.73
"""Chance that a genome has no choice that only the margin makes possible (section 4 there)."""


class CatCMA(Searcher):
    """CatCMA with margin: probabilities of choices beside a normal distribution of numbers.

    A gene without effect is told at the distribution's mean, so that it moves nothing.

    Args:
        space: the genes; numbers begin at their starts, choices with their chances.
        seed: of the draws.
        population: genomes per generation, at least 4; 4 + ⌊3 ln n⌋ if absent.
        sigma: initial step size of numbers, in units of the cube's edge.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        sigma: float = 1 / 6,
    ) -> None:
        import cmaes

        super().__init__(space, seed=seed)
        self.batch = choose_population("catcma", population, max(len(space), 2))
        self._choices = np.flatnonzero(space.choosing)
        self._numbers = np.flatnonzero(~space.choosing)
        self._sizes = np.array([len(space.genes[k].choices) for k in self._choices], dtype=int)
        if len(self._numbers) > MOST_NUMBERS:
            raise ValueError(
                f"catcma learns the covariance of at most {MOST_NUMBERS} numbers, this space has "
                f"{len(self._numbers)}; sep_cma has no such limit"
            )
        if not 0.0 < sigma <= 10.0:
            raise ValueError("catcma needs a sigma in (0, 10]")
        self._algorithm = cmaes.CatCMAwM(
            x_space=[[0.0, 1.0]] * len(self._numbers),
            c_space=list(self._sizes),
            population_size=self.batch,
            mean=space.start()[self._numbers],
            sigma=float(sigma),
            cov=np.eye(len(self._numbers)),
            cat_param=self._probabilities(),
            seed=seed % 2**32,
        )
        self._solutions: list[Any] = []

    def recommend(self) -> "list[Genome]":
        """Return the likeliest choices and the mean of numbers: less lucky than the best sample."""
        if self._algorithm.generation == 0:
            return []
        numbers, chances = self._distribution()
        return [self.space.settle(self._place(numbers, chances))]

    def _ask(self, count: int) -> "list[Genome]":
        self._solutions = [self._algorithm.ask() for _ in range(count)]
        return [self._place(solution.x, solution.c) for solution in self._solutions]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        if len(results) != self.batch:
            return  # the budget ended within a generation
        solutions = [self._disarm(solution) for solution in self._solutions]
        self._algorithm.tell(list(zip(solutions, rank(results), strict=True)))

    def _place(
        self, numbers: "NDArray[np.float64] | None", choices: "NDArray[np.float64] | None"
    ) -> "Genome":
        """Return the point of numbers, and of the greatest in every row of choices."""
        point = np.empty(self.dimension)
        if numbers is not None:
            point[self._numbers] = numbers
        if choices is not None:
            point[self._choices] = (choices.argmax(axis=1) + 0.5) / self._sizes
        return point

    def _disarm(self, solution: Any) -> Any:
        """Put what has no effect at the distribution's mean, where it moves nothing."""
        effective = self.space.effective(self._place(solution.x, solution.c))
        mean, chances = self._distribution()
        numbers, choices = solution._v_raw, solution.c
        if mean is not None:
            numbers = np.where(effective[self._numbers], numbers, mean)
        if chances is not None:
            choices = np.where(effective[self._choices, None], choices, chances)
        return replace(solution, _v_raw=numbers, c=choices)

    def _distribution(self) -> "tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]":
        """Return the mean of numbers and the probabilities of choices; None where there are none.

        The package shows neither.
        """
        numbers = self._algorithm._mean if len(self._numbers) else None
        return numbers, self._algorithm._q if len(self._choices) else None

    def _probabilities(self) -> "NDArray[np.float64]":
        """Return the chances of the choices, none below the margin; one row a gene, filled up."""
        table = np.zeros((len(self._sizes), max(self._sizes, default=0)))
        for row, index, size in zip(table, self._choices, self._sizes, strict=True):
            margin = (1.0 - KEPT ** (1.0 / len(self._sizes))) / (size - 1)
            row[:size] = _raise_to(margin, np.array(self.space.genes[index].odds))
        return table


def _raise_to(margin: float, chances: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return chances none of which is below the margin, as the algorithm keeps them."""
    raised = np.maximum(chances, margin)
    spare = raised - margin
    excess = float(raised.sum()) - 1.0
    return raised - spare * (excess / float(spare.sum()))
