"""Does a searcher find more than drawing at random does, within a budget it is told?"""

from collections.abc import Callable
from functools import cache
from statistics import median

from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.search.base import Kind
from evomerge.search.random import RandomSearch
from evomerge.testing.searchers.problems import PROBLEMS, Problem

SEEDS = range(5)


def check_beats_random(make: Callable[..., Searcher], kind: Kind) -> None:
    """Let a searcher and random search spend equal budgets on the problems of a kind.

    The medians over `SEEDS` are compared, so that the check has the same result every time.
    Problems of more goals than the searcher can be told of are left out.

    Args:
        make: called as make(space, seed=seed).
        kind: of the problems; one of the searcher's own `kinds`.

    Raises:
        AssertionError: it is not nearer to the optimum by the problem's margin.
    """
    for problem in PROBLEMS[kind]:
        if problem.goals <= make(problem.space, seed=0).goals[1]:
            gain = measure_gain(make, problem)
            assert gain >= problem.margin, (
                f"{problem.name}: {problem.evaluations} evaluations take away {gain:.0%} of what "
                f"random search leaves to the optimum, {problem.margin:.0%} are promised"
            )


def measure_gain(make: Callable[..., Searcher], problem: Problem) -> float:
    """Return the share of what random search leaves to the optimum that a searcher takes away.

    1 is the optimum, 0 is as far as random search comes, less than that is worse than it.
    """
    found = median(spend_budget(make(problem.space, seed=seed), problem) for seed in SEEDS)
    drawn = _draw(problem.name)
    return (found - drawn) / (problem.optimum - drawn)


def spend_budget(searcher: Searcher, problem: Problem) -> float:
    """Spend a problem's budget as a run does; return what was found."""
    results: list[Evaluated] = []
    while (left := problem.evaluations - searcher.asked) > 0 and not searcher.finished:
        told = [problem.judge(point) for point in searcher.ask(min(searcher.batch, left))]
        searcher.tell(told)
        results += told
    return problem.worth(results)


@cache
def _draw(name: str) -> float:
    """Return the median of what random search finds."""
    [problem] = [each for group in PROBLEMS.values() for each in group if each.name == name]
    return median(spend_budget(RandomSearch(problem.space, seed=seed), problem) for seed in SEEDS)
