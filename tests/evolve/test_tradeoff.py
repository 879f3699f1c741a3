"""What is said of bounds and of several goals: with figures, in the tasks' own units."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from evomerge.config import Bound
from evomerge.evaluation import SPLITS, Evaluator, Task
from evomerge.evolve.bounds import find_least
from evomerge.evolve.comparison import Estimate, Line
from evomerge.evolve.tradeoff import tell_tradeoff
from evomerge.evolve.verdict import Verdict, read_verdict
from evomerge.records import Evaluated, Item


class Judge(Evaluator):
    """Scores nothing; only its direction counts here."""

    subject = "recipe"

    def __init__(self, higher: bool) -> None:
        self.higher_is_better = higher

    def _score(self, _: object, items: Sequence[Item]) -> Sequence[float]:
        return [0.0 for _ in items]


NONE: dict[str, tuple[Item, ...]] = dict.fromkeys(SPLITS, ())
MATH = Task("math", Judge(True), NONE, 1.0, "m")
BITS = Task("bits", Judge(False), NONE, 1.0, "b")


def line(label: str, kind: str, **means: float) -> Line:
    found = {name: Estimate(mean, mean - 0.1, mean + 0.1) for name, mean in means.items()}
    return Line(label, kind, Estimate(0.0), found, difference=0.0)


LINES = (
    line("candidate 3", "winner", math=0.6, bits=1.5),
    line("first", "parent", math=0.7, bits=3.0),
    line("second", "parent", math=0.2, bits=1.4),
    line("uniform", "default", math=0.5, bits=1.6),
)


def tell(
    *lines: Line,
    goals: Sequence[str] = (),
    bounds: Mapping[str, Bound] | None = None,
    front: int = 4,
) -> Verdict:
    verdict = Verdict("It is good.", True, lines, 8, None, None)
    return tell_tradeoff(verdict, [MATH, BITS], goals=goals, bounds=bounds, front=front)


@pytest.mark.parametrize(
    ("task", "bound", "told"),
    [
        ("math", Bound(0.5), "On the test items the bound on math holds: 0.600 [0.500, 0.700], "
         "where at least 0.500 was asked for."),
        ("math", Bound(-0.1, relative=True), "at least 0.600 (best parent - 0.1) was asked for."),
        ("bits", Bound(0.1, relative=True), "the bound on bits holds: 1.500 [1.400, 1.600], "
         "where at most 1.500 (best parent + 0.1) was asked for."),
    ],
)  # fmt: skip
def test_a_bound_that_holds_is_told_with_its_figures(task: str, bound: Bound, told: str) -> None:
    verdict = tell(*LINES, bounds={task: bound})
    assert told in verdict.tradeoff
    assert verdict.sentence == f"It is good. {verdict.tradeoff}"
    assert not verdict.missed
    assert not verdict.doubtful


@pytest.mark.parametrize(
    ("task", "bound", "told"),
    [
        ("math", Bound(0.0, relative=True), "the bound on math does NOT hold: 0.600 [0.500, "
         "0.700], where at least 0.700 (best parent) was asked for."),
        ("bits", Bound(1.4), "does NOT hold: 1.500 [1.400, 1.600], where at most 1.400 was"),
    ],
)  # fmt: skip
def test_a_bound_that_is_missed_makes_the_verdict_doubtful(
    task: str, bound: Bound, told: str
) -> None:
    verdict = tell(*LINES, bounds={task: bound})
    assert told in verdict.sentence
    assert verdict.missed == (task,)
    assert verdict.doubtful
    assert read_verdict(verdict.to_values()).missed == (task,)


def test_those_who_keep_every_bound_are_named_with_the_lead_over_them() -> None:
    lines = [replace(line, difference=0.1 * k) for k, line in enumerate(LINES)]
    told = tell(*lines, bounds={"math": Bound(0.5), "bits": Bound(2.0)}).tradeoff
    assert told.endswith("these keep every bound, and the merge leads by: uniform (+0.300).")
    told = tell(*lines, bounds={"math": Bound(0.8)}).tradeoff
    assert told.endswith("None of the others keeps every bound.")


def test_every_goal_is_compared_with_whoever_is_best_at_it() -> None:
    told = tell(*LINES, goals=["math", "bits"]).tradeoff
    assert told == (
        "It is the knee of a front of 4 merges on the validation items. By goal: math 0.600 "
        "[0.500, 0.700] against 0.700 of first; bits 1.500 [1.400, 1.600] against 1.400 of second. "
        "None of the others is as good in every goal."
    )


def test_whoever_is_as_good_in_every_goal_is_named() -> None:
    twin = line("ties", "default", math=0.6, bits=1.5)
    better = line("dare", "default", math=0.9, bits=1.0)
    failed = Line("broken", "default", None, {}, failure="why")
    told = tell(*LINES, twin, better, failed, goals=["math", "bits"], front=1).tradeoff
    assert told.startswith("No other was as good on the validation items.")
    assert told.endswith("At least as good in every goal: ties, dare.")


def test_the_least_that_will_do_is_the_best_parents_on_the_same_items() -> None:
    parents = [
        Evaluated([0.0], (0.0,), measures=measures)  # type: ignore[arg-type]  # no genome is looked at
        for measures in ({"math": 0.7, "bits": 3.0}, {"math": 0.2, "bits": 1.4})
    ]
    bounds = {"math": Bound(-0.1, relative=True), "bits": Bound(0.1, relative=True)}
    least = find_least(bounds, [MATH, BITS], parents)
    assert least == pytest.approx({"math": 0.6, "bits": -1.5})
    assert find_least({"bits": Bound(2.0)}, [MATH, BITS], parents) == {"bits": -2.0}


def test_a_bound_on_parents_that_all_failed_cannot_be_told_and_counts_as_missed() -> None:
    failed = [replace(line, failure="timeout", tasks={}) for line in LINES if line.kind == "parent"]
    bounds = {"math": Bound(-0.1, relative=True), "bits": Bound(2.0)}
    verdict = tell(LINES[0], *failed, bounds=bounds)
    assert verdict.missed == ("math",)
    assert (
        "On the test items whether the bound on math (best parent - 0.1) holds cannot be told: no "
        "parent could be tested. On the test items the bound on bits holds" in verdict.tradeoff
    )
    assert "every bound" not in verdict.tradeoff
