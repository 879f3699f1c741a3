"""The search: ask, run, tell, record. Resuming is the same loop over a store that knows more."""

from evomerge.evolve.trials import Trial, Trials
from evomerge.genome import ParameterSpace
from evomerge.search import Searcher
from evomerge.types import Progress


def search(
    searcher: Searcher,
    genome: ParameterSpace,
    trials: Trials,
    *,
    evaluations: int,
    progress: Progress | None = None,
) -> None:
    """Spend the budget.

    Every round asks for one batch (the last one for what the budget leaves), tries it, and tells
    the results in candidate order, whenever they came. So a run that is replayed from its store
    asks for the same candidates as one that was never interrupted.

    Args:
        searcher: proposes genomes.
        genome: decodes them.
        trials: tries recipes.
        evaluations: how many candidates in all.
        progress: told of every finished candidate.
    """
    if progress:
        progress.begin("search", evaluations)
    round_ = 0
    while searcher.asked < evaluations:
        first = searcher.asked
        points = searcher.ask(min(searcher.batch, evaluations - first))
        batch = [
            Trial(f"candidate {first + k}", genome.decode(point), point)
            for k, point in enumerate(points)
        ]
        searcher.tell(trials.run("search", round_, batch, "search"))
        round_ += 1
    if progress:
        progress.end()
