"""What a run relies on, promise by promise."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.search.base import Kind
from evomerge.space import SearchSpace
from evomerge.testing.searchers.judges import (
    HardJudge,
    Judge,
    PlainJudge,
    fail_all,
    lose_last_goal,
)

if TYPE_CHECKING:
    from evomerge.types import Genome

Make = Callable[..., Searcher]
ROUNDS, CANDIDATES = 3, 12
"""A search in the suite has at least so many of both."""
MOST_GOALS = 3
KINDS = frozenset(get_args(Kind))


class Round(NamedTuple):
    """What was asked, and what was told of it."""

    asked: "list[Genome]"
    told: list[Evaluated]


def check_declarations(make: Make, space: SearchSpace) -> None:
    """Kinds are known ones, and they fit the numbers of goals."""
    searcher = make(space, seed=0)
    least, most = searcher.goals
    assert searcher.kinds <= KINDS, f"kinds are among {sorted(KINDS)}"
    assert 1 <= least <= most, "goals are (least, most), at least one"
    several = "multi_objective" in searcher.kinds
    assert not several or most > 1, "who is made for several goals can be told of several"
    assert not searcher.kinds & {"continuous", "mixed"} or least == 1, (
        "problems of one goal are for those who can be told of one"
    )


def check_asks(make: Make, space: SearchSpace) -> None:
    """As many points as were asked for, settled in the unit cube, and counted."""
    searcher = make(space, seed=1)
    judge, points = PlainJudge(searcher.goals[0]), list["Genome"]()
    for _ in range(ROUNDS):
        if searcher.finished:
            break
        batch = searcher.batch
        assert batch >= 1, "a batch holds at least one genome"
        asked = searcher.ask()
        assert len(asked) == batch, "ask gives as many genomes as it is asked for"
        searcher.tell(judge(asked))
        points += asked
    assert len(points) == searcher.asked == searcher.told, "every genome is counted once"
    for point in points:
        assert point.shape == (len(space),), "a genome has one number per gene"
        assert np.array_equal(space.settle(point), point), "what decodes alike is an equal genome"


def check_replay(make: Make, space: SearchSpace) -> None:
    """Equal seeds and tells give equal asks, wherever a run was killed: so it resumes.

    What is told again comes from a store: equal numbers, other objects. A run that was killed
    within a batch asks for the whole of it again, whatever of it the store holds.
    """
    for judge in _judges(make(space, seed=5)):
        first, again = spend(make(space, seed=5), judge), make(space, seed=5)
        for asked, told in first:
            assert _same(again.ask(len(asked)), asked), (
                "a replayed search asks for the same genomes"
            )
            again.tell([_restore(result) for result in told])


def check_failures(make: Make, space: SearchSpace) -> None:
    """A search whose candidates fail goes on, and has neither a best nor elites."""
    goals = make(space, seed=2).goals[0]
    for judge in (fail_all(goals), lose_last_goal(goals)):
        searcher = make(space, seed=2)
        spend(searcher, judge)
        assert _best(searcher) is None, "a failed candidate is never the best"
        assert not searcher.elites(), "a failed candidate is never among the elites"
        if searcher.finished:
            continue
        first, *others = searcher.ask(max(2, searcher.batch))
        finite = np.isfinite([first, *others]).all()
        assert finite, "genomes are finite whatever was told"
        place = searcher.asked - 1 - len(others)
        shining = Evaluated(first, (9.0,) * goals, failure="it failed", overall=9.0)
        told = [shining, *PlainJudge(goals)(others)]
        searcher.tell(told)
        assert _best(searcher) in told[1:], "a failed candidate is never the best"
        kept = [kept for kept, _ in searcher.elites()]
        assert place not in kept, "a failed candidate is never among the elites"


def check_partial_batch(make: Make, space: SearchSpace) -> None:
    """The budget may end within a batch; recommendations lie in the unit cube."""
    searcher = make(space, seed=3)
    judge = PlainJudge(searcher.goals[0])
    for _ in range(2):
        spend(searcher, judge)
        if searcher.finished:
            return
        points = searcher.ask(1)
        searcher.tell(judge(points))
        assert len(points) == 1, "ask(1) gives one genome"
        for point in searcher.recommend():
            assert point.shape == (len(space),), "a recommendation has one number per gene"
            inside = ((point >= 0.0) & (point <= 1.0)).all()
            assert inside, "recommendations lie in the unit cube"


def check_records(make: Make, space: SearchSpace) -> None:
    """Duplicates are counted; every genome has an origin; an archive holds what succeeded.

    A run evaluates duplicates once and tells of them as before.
    """
    for judge in _judges(make(space, seed=6)):
        searcher = make(space, seed=6)
        told = [result for _, results in spend(searcher, judge) for result in results]
        different = {result.genome.tobytes() for result in told}
        assert searcher.duplicates == len(told) - len(different), "duplicates are counted"
        assert len(searcher.origins) == len(told), "every genome has an origin"
        for place, origin in enumerate(searcher.origins):
            earlier = all(parent in range(place) for parent in origin.parents)
            assert earlier, "parents are places in the order of asking, before their child"
        for place, why in searcher.elites():
            assert place in range(len(told)), "an elite is a place in the order of asking"
            assert told[place].standing, "a failed candidate is never among the elites"
            assert why, "an elite says why it is kept"


def check_goals(make: Make, space: SearchSpace) -> None:
    """Who knows of one goal takes several as their mean; who knows of several goes on with any."""
    least, most = make(space, seed=9).goals
    if most == 1:
        several = spend(make(space, seed=9), PlainJudge(MOST_GOALS))
        mean = spend(make(space, seed=9), PlainJudge(MOST_GOALS, merged=True))
        same = all(_same(a.asked, b.asked) for a, b in zip(several, mean, strict=True))
        assert same, "who knows of one goal takes several as their mean"
    for goals in range(least, min(most, MOST_GOALS) + 1):
        searcher = make(space, seed=9)
        judge = HardJudge(PlainJudge(goals), not searcher.looks_at_items)
        told = [result for _, results in spend(searcher, judge) for result in results]
        best = _best(searcher)
        assert best is not None, "what succeeded has a best"
        assert best.rank_key == max(result.rank_key for result in told), (
            "the best is what ranks first: all items met, no bound missed, and then the mean"
        )


def check_global_generators(make: Make, space: SearchSpace) -> None:
    """No generator of the process is read or written: others draw from them, too."""
    mine, theirs = random.getstate(), np.random.get_state()  # noqa: NPY002 - nobody may touch it
    try:
        asked = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - likewise
            before = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - likewise
            searcher = make(space, seed=4)
            asked.append(spend(searcher, PlainJudge(searcher.goals[0])))
            after = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - likewise
            assert after == before, "no global generator is drawn from or seeded"
        same = all(_same(a.asked, b.asked) for a, b in zip(*asked, strict=True))
        assert same, "no global generator has a say"
    finally:
        random.setstate(mine)
        np.random.set_state(theirs)  # noqa: NPY002 - likewise


CHECKS = (
    check_declarations,
    check_asks,
    check_replay,
    check_failures,
    check_partial_batch,
    check_records,
    check_goals,
    check_global_generators,
)


def spend(searcher: Searcher, judge: Judge) -> list[Round]:
    """Search for a few rounds; return what was asked and told."""
    rounds: list[Round] = []
    before = searcher.asked
    while _goes_on(searcher, len(rounds), before):
        asked = searcher.ask()
        rounds.append(Round(asked, judge(asked)))
        searcher.tell(rounds[-1].told)
    return rounds


def _goes_on(searcher: Searcher, rounds: int, before: int) -> bool:
    """Tell whether a search that had asked for so many before is to go on."""
    short = rounds < ROUNDS or searcher.asked - before < CANDIDATES
    return short and not searcher.finished


def _best(searcher: Searcher) -> Evaluated | None:
    return searcher.best


def _judges(searcher: Searcher) -> list[Judge]:
    plain = PlainJudge(searcher.goals[0])
    return [plain, HardJudge(plain, not searcher.looks_at_items)]


def _restore(result: Evaluated) -> Evaluated:
    """Return a result as it is read from a store."""
    return replace(
        result,
        genome=np.array(list(map(float, result.genome))),
        item_scores=dict(result.item_scores),
        measures=dict(result.measures),
    )


def _same(some: "Sequence[Genome]", others: "Sequence[Genome]") -> bool:
    return [point.tobytes() for point in some] == [point.tobytes() for point in others]
