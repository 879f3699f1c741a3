"""The verdict says in plain words what the numbers allow, and no more."""

from collections.abc import Sequence

import pytest

from evomerge.evaluation import Evaluator, Task
from evomerge.evolve.verdict import Estimate, Scores, Verdict, reach_verdict, read_verdict
from evomerge.records import Item


class Judge(Evaluator):
    """Never asked here."""

    def __init__(self, higher_is_better: bool = True) -> None:
        self.higher_is_better = higher_is_better

    def _score(self, subject: object, items: Sequence[Item]) -> Sequence[float]:
        raise NotImplementedError("a verdict reads stored scores; it never scores")


def task(name: str, items: int, *, weight: float = 1.0, higher: bool = True) -> Task:
    rows = tuple(Item(f"{name}{k}", name, {}) for k in range(items))
    splits = {"search": rows, "validation": rows, "test": rows}
    return Task(name, Judge(higher), splits, weight, name)


def scores(**tasks: Sequence[float]) -> Scores:
    return {
        name: {f"{name}{k}": float(v) for k, v in enumerate(row)} for name, row in tasks.items()
    }


def right(count: int, of: int = 100) -> list[float]:
    return [1.0] * count + [0.0] * (of - count)


def judge(*entries: tuple[str, str, Scores | str], tasks: Sequence[Task] | None = None) -> Verdict:
    return reach_verdict(tasks or [task("a", 100)], entries)


WINNER = ("candidate 7", "winner", scores(a=right(90)))


def test_merge_that_beats_all_is_said_to() -> None:
    verdict = judge(
        WINNER, ("mum", "parent", scores(a=right(60))), ("ties", "default", scores(a=right(70)))
    )
    assert verdict.better
    # Wilson intervals of 90 and 70 in 100 (Wilson, 1927)
    assert verdict.sentence == (
        "The merge beats every parent and every default recipe on 100 untouched test items: "
        "0.900 [0.826, 0.945] against 0.700 [0.604, 0.781] of the strongest of them, ties "
        "(paired exact tests, largest p < 0.001)."
    )


def test_merge_that_is_worse_than_a_parent_is_said_to_be() -> None:
    verdict = judge(
        WINNER, ("mum", "parent", scores(a=right(95))), ("ties", "default", scores(a=right(50)))
    )
    assert not verdict.better
    assert "The merge did NOT beat everything on 100 untouched test items" in verdict.sentence
    assert "It is no better than the parent mum (-0.050, p = 0.062)." in verdict.sentence
    assert "ties" not in verdict.sentence


def test_lead_that_may_be_chance_is_called_so() -> None:
    verdict = judge(
        WINNER, ("mum", "parent", scores(a=right(50))), ("ties", "default", scores(a=right(87)))
    )
    assert not verdict.better
    assert verdict.sentence.endswith(" Its lead may be chance over ties (+0.030, p = 0.250).")


def test_exact_tie_is_not_a_win() -> None:
    verdict = judge(WINNER, ("mum", "parent", WINNER[2]))
    assert not verdict.better
    assert "It is no better than the parent mum (+0.000, p = 1.000)." in verdict.sentence


def test_who_could_not_be_measured_was_not_beaten() -> None:
    verdict = judge(
        WINNER, ("mum", "parent", scores(a=right(60))), ("ties", "default", "it raised")
    )
    assert not verdict.better
    failed = verdict.lines[2]
    assert (failed.overall, failed.failure, failed.beaten) == (None, "it raised", False)
    assert "mum" in verdict.sentence
    assert verdict.sentence.endswith("Could not be evaluated: ties.")


def test_right_or_wrong_is_decided_by_all_models_together() -> None:
    silent = ("mum", "parent", scores(a=[0.0] * 60))
    verdict = judge(("candidate 7", "winner", scores(a=[0.5, 0.25] * 30)), silent)
    assert verdict.lines[1].overall == Estimate(0.0, 0.0, 0.0)  # scores, not a proportion
    verdict = judge(("candidate 7", "winner", scores(a=[1.0, 0.0] * 30)), silent)
    assert verdict.lines[1].overall is not None
    assert verdict.lines[1].overall.high > 0.05


def test_merge_without_rivals_claims_no_victory() -> None:
    verdict = judge(WINNER, ("mum", "parent", "it raised"))
    assert verdict.sentence == (
        "The merge scores on 100 untouched test items: 0.900 [0.826, 0.945]; "
        "there was nothing to compare it with."
    )
    assert not verdict.better


@pytest.mark.parametrize(("higher", "better"), [(False, True), (True, False)])
def test_lower_scores_win_where_lower_is_better(higher: bool, better: bool) -> None:
    verdict = judge(
        ("candidate 7", "winner", scores(a=[1.0 + k / 100 for k in range(20)])),
        ("mum", "parent", scores(a=[2.0 + k / 100 for k in range(20)])),
        tasks=[task("a", 20, higher=higher)],
    )
    assert verdict.better is better
    assert verdict.lines[0].tasks["a"].mean == pytest.approx(1.095)  # in the evaluator's own unit
    assert verdict.lines[0].overall is not None
    assert verdict.lines[0].overall.mean == pytest.approx(1.095 if higher else -1.095)


def test_weights_count_tasks_not_items() -> None:
    verdict = judge(
        ("candidate 7", "winner", scores(a=right(40, 40), b=right(0, 10))),
        ("mum", "parent", scores(a=right(0, 40), b=right(10, 10))),
        tasks=[task("a", 40, weight=1.0), task("b", 10, weight=3.0)],
    )
    assert verdict.lines[0].overall is not None
    assert verdict.lines[0].overall.mean == pytest.approx(0.25)
    assert verdict.lines[1].difference == pytest.approx(-0.5)
    assert (verdict.lines[1].wins, verdict.lines[1].losses) == (40, 10)
    assert not verdict.better  # more items won, yet the weighted mean is lower


def test_more_comparisons_ask_for_more_evidence() -> None:
    rival = scores(a=right(84))  # six wins, none lost: p = 2·2⁻⁶ = 0.031
    assert judge(WINNER, ("mum", "parent", rival)).better
    twice = judge(WINNER, ("mum", "parent", rival), ("dad", "parent", rival))
    assert not twice.better  # Holm: 2 × 0.031


def test_verdict_survives_the_store() -> None:
    import json

    verdict = judge(WINNER, ("mum", "parent", scores(a=right(60))), ("ties", "default", "raised"))
    assert read_verdict(json.loads(json.dumps(verdict.to_values()))) == verdict
