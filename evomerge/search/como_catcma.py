"""COMO-CatCMA with margin (Hamano et al., 2025): a front of two goals, several CatCMAs at once.

https://arxiv.org/abs/2504.07884

The algorithm is the `cmaes` package's, on the Sofomore framework (Touré et al., 2019:
https://arxiv.org/abs/1904.08823). A kernel is a CatCMA with margin, for which a point is as good
as the hypervolume that it adds to the means of all other kernels. So the kernels spread along the
front. They take turns; every mean is evaluated, too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.base import Kind, Searcher, choose_population, drop_equals
from evomerge.search.catcma import Mixed, check_numbers
from evomerge.search.evolution_strategy import SIGMA, Beginning
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome
TIE = 1e-6
"""Part of a goal's range by which equals differ in the order of asking."""


class COMOCatCMA(Searcher):
    """COMO-CatCMA with margin, of exactly two goals.

    A gene without effect is told at its kernel's mean. What misses a bound, was dropped, or failed
    is told as worse than everything else in both goals, in this order.

    Args:
        space: the genes; the first kernel begins where they say.
        seed: of the draws.
        kernels: how many distributions spread along the front, at least 2.
        population: genomes per kernel and generation, at least 4; 4 + ⌊3 ln n⌋ if absent.
        sigma: initial step size of numbers, in units of the cube's edge.
        warm_start: begin with a kernel at each of the space's known points, as far as there are
            kernels; the others begin anywhere.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"multi_objective"})
    goals: ClassVar[tuple[int, int]] = (2, 2)

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        kernels: int = 3,
        population: int | None = None,
        sigma: float = SIGMA,
        warm_start: bool = True,
    ) -> None:
        super().__init__(space, seed=seed)
        size = choose_population("como_catcma", population, max(len(space), 2))
        if kernels < 2 or not 0.0 < sigma <= 10.0:
            raise ValueError("como_catcma needs at least 2 kernels and a sigma in (0, 10]")
        check_numbers("como_catcma", space)
        self._rng = np.random.default_rng(seed)
        self._first = Beginning(space.start(), float(sigma), size, seed % 2**32)
        self._count, self._warm = kernels, warm_start
        self._kernels, self._algorithm = self._begin(self._find_promising())
        self.batch = self._algorithm.ask_queue_size
        self._solutions: list[Any] = []
        self._least, self._most = np.full(2, np.inf), np.full(2, -np.inf)

    def recommend(self) -> "list[Genome]":
        """Return the means of the kernels that have learned."""
        learned = [kernel for kernel in self._kernels if kernel.algorithm.generation]
        return drop_equals([self.space.settle(kernel.mean) for kernel in learned])

    def _find_promising(self) -> "list[Genome]":
        """Return where kernels begin: at the start and at known points."""
        known = self.space.known.values() if self._warm else ()
        return drop_equals([self.space.start(), *known])[: self._count]

    def _begin(self, near: "Sequence[Genome]" = ()) -> tuple[list[Mixed], Any]:
        """Spread the kernels: near the start and other points, the rest anywhere."""
        import cmaes

        rest = [self._rng.random(self.dimension) for _ in range(self._count - len(near))]
        centres = [*near[1:], *rest]
        begun = [self._first] * bool(near)
        begun += [replace(self._first, mean=one, promising=[one]) for one in centres]
        seeds = self._rng.integers(2**32, size=len(begun)).tolist()  # else all draw the same steps
        kernels = [
            Mixed(self.space, replace(one, seed=seed))
            for one, seed in zip(begun, seeds, strict=True)
        ]
        algorithm = cmaes.COMOCatCMAwM(
            **kernels[0].spaces,
            kernels=[kernel.algorithm for kernel in kernels],
            seed=int(self._rng.integers(2**32)),
        )
        return kernels, algorithm

    def _ask(self, count: int) -> "list[Genome]":
        self._solutions = list(self._algorithm.ask_iter(count))
        spare = [self._algorithm.current_kernel.ask() for _ in range(count - len(self._solutions))]
        kernel = self._kernels[0]
        return [kernel.place(one.x, one.c) for one in [*self._solutions, *spare]]

    def _tell(self, results: Sequence[Evaluated]) -> None:
        for count in {len(result.objectives) for result in results} - {2}:
            raise ValueError(f"como_catcma has two goals, and is told of {count}")
        for result in results:
            if _is_whole(result):
                self._least = np.fmin(self._least, result.objectives)
                self._most = np.fmax(self._most, result.objectives)
        if not np.isfinite(self._least).all():  # nothing to compare with: begin again elsewhere
            self._kernels, self._algorithm = self._begin()
        else:
            tie = TIE * self._span  # the package cannot scale its penalties where all are equal
            losses = [self._lose(result) + k * tie for k, result in enumerate(results)]
            pairs = zip(self._solutions, losses, strict=False)  # more may have been asked
            self._algorithm.tell([(self._disarm(one), loss) for one, loss in pairs])
        self.batch = self._algorithm.ask_queue_size

    @property
    def _span(self) -> "NDArray[np.float64]":
        """The range of either goal so far, shape (2,), > 0."""
        least = TIE * np.maximum(1.0, np.abs(self._most))
        return np.asarray(np.maximum(self._most - self._least, least))

    def _disarm(self, solution: Any) -> Any:
        if solution._kernel_id is None:
            return solution  # a kernel's mean moves nothing
        return self._kernels[solution._kernel_id].disarm(solution)

    def _lose(self, result: Evaluated) -> "NDArray[np.float64]":
        """Return losses: what fails, was dropped or misses bounds is worse than all the rest."""
        span = self._span
        if not _is_whole(result):
            worse = 2.0 if result.standing else 3.0
            return np.asarray(-self._least + span * worse)
        if result.violation:
            return np.asarray(-self._least + span * min(result.violation, 1.0))
        return -np.array(result.objectives)


def _is_whole(result: Evaluated) -> bool:
    """Tell whether it met all items, and earned numbers that can be drawn."""
    return result.standing == 2 and bool(np.isfinite(result.objectives).all())
