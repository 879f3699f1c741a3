"""Ask and tell: the contract of every searcher, with its bookkeeping done once.

A searcher proposes points of the unit cube and is told what they earned. It has never heard of
models. Subclasses write `_ask` and `_tell` only.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from evomerge.records import Evaluated, Origin
from evomerge.registry import Registry
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome


Kind = Literal["continuous", "mixed", "multi_objective", "per_item"]
"""Problems: of numbers, of choices (beside numbers), of several goals, of niches among items."""
MANY = 100
"""Most goals, where there is no limit."""


class Searcher(ABC):
    """Base of all searchers.

    What `_ask` returns is settled in the space: choices lie in the middle of their parts, genes
    whose needs are not met where the search began. So points that decode alike are equal genomes.

    Args:
        space: the genes.
        seed: everything random derives from it; equal seeds and tells give equal asks.

    Attributes:
        batch: how many genomes belong together; a whole batch is told before the next is asked.
        asked: genomes proposed so far.
        told: results received so far.
        duplicates: genomes proposed that had been proposed before.
        best: the best result so far, None before any finite one.
        origins: where every genome asked so far comes from, in order.
        kinds: of the problems it is made for; on those it beats random search.
        goals: the least and the most objectives it can be told of. One that knows of one goal only
            takes several as their weighted mean.
        looks_at_items: every candidate must meet every item, so that nothing is raced.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"continuous"})
    goals: ClassVar[tuple[int, int]] = (1, 1)
    looks_at_items: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        self.space = space
        self.seed = seed
        self.batch = 1
        self.asked = 0
        self.told = 0
        self.duplicates = 0
        self.best: Evaluated | None = None
        self.origins: list[Origin] = []
        self._born: list[Origin] = []
        self._seen: set[bytes] = set()

    @classmethod
    def resolve_paths(
        cls, options: Mapping[str, Any], resolve: Callable[[str], str]
    ) -> dict[str, Any]:
        """Return the options with the paths among them as they are meant.

        Args:
            options: as a run file states them.
            resolve: makes a path absolute that exists in the run file's folder.
        """
        del resolve
        return dict(options)

    @property
    def dimension(self) -> int:
        """The number of genes."""
        return len(self.space)

    def ask(self, count: int | None = None) -> "list[Genome]":
        """Propose `count` genomes (a batch, if absent), each of shape (dimension,) in [0, 1]."""
        self._born = []
        points = self._ask(self.batch if count is None else count)
        self.origins += self._born or [Origin()] * len(points)
        genomes = [self.space.settle(point) for point in points]
        for genome in genomes:
            key = genome.tobytes()
            self.duplicates += key in self._seen
            self._seen.add(key)
        self.asked += len(genomes)
        return genomes

    def tell(self, results: Sequence[Evaluated]) -> None:
        """Learn what a batch earned; failed and NaN candidates count as worst."""
        self.told += len(results)
        for result in results:
            if result.standing and (self.best is None or result.rank_key > self.best.rank_key):
                self.best = result
        self._tell(results)

    def recommend(self) -> "list[Genome]":
        """Return genomes worth a look besides the best seen, such as a distribution's mean."""
        return []

    @property
    def finished(self) -> bool:
        """Whether it has nothing more to propose, though the budget may not be spent."""
        return False

    def probe(self) -> None:  # noqa: B027 - most rely on nothing, and have nothing to write
        """Find out, before a run begins, whether what it relies on is there; nothing by default.

        Raises:
            EvoMergeException: it is not.
        """

    def remarks(self) -> list[str]:
        """Return what who reads the result should know of how it was found, a line each."""
        return []

    def elites(self) -> list[tuple[int, str]]:
        """Return what an archive holds: place in the order of asking, and why it is kept."""
        return []

    @abstractmethod
    def _ask(self, count: int) -> "list[Genome]":
        """Propose `count` genomes; where they come from may be said in `_born`, one each."""

    @abstractmethod
    def _tell(self, results: Sequence[Evaluated]) -> None:
        """Learn; `results` may be a part of a batch when the budget ends within it."""


def rank(results: Sequence[Evaluated]) -> list[int]:
    """Return the place of each result, 0 for the best; equals in the order they were asked in."""
    order = sorted(range(len(results)), key=lambda k: results[k].rank_key, reverse=True)
    places = {index: place for place, index in enumerate(order)}
    return [places[index] for index in range(len(results))]


def drop_equals(points: "Iterable[Genome]") -> "list[Genome]":
    """Return the different ones among points, in order."""
    return list({point.tobytes(): point for point in points}.values())


def choose_population(name: str, population: int | None, genes: int, *, least: int = 4) -> int:
    """Return the size of a generation; 4 + ⌊3 ln n⌋ if absent (Hansen and Ostermeier, 2001).

    Raises:
        ValueError: it is below `least`.
    """
    if population is None:
        return 4 + math.floor(3 * math.log(genes))
    if not isinstance(population, int) or population < least:
        raise ValueError(f"{name} needs a population of at least {least}")
    return population


SEARCHERS: Registry[type[Searcher]] = Registry("searcher", "evomerge.searchers")
