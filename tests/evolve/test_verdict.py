"""The verdict says in plain words what the numbers allow, and no more."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from evomerge.evaluation import Evaluator, Task
from evomerge.evolve.verdict import Estimate, Scores, Verdict, reach_verdict, read_verdict
from evomerge.records import Item
from evomerge.statistics import wilson_interval


class Judge(Evaluator):
    """Never asked here."""

    def __init__(
        self, higher_is_better: bool = True, per_item: bool = True, holds_out: bool = True
    ) -> None:
        self.higher_is_better = higher_is_better
        self.per_item = per_item
        self.holds_out = holds_out

    def _score(self, subject: object, items: Sequence[Item]) -> Sequence[float]:
        raise NotImplementedError("a verdict reads stored scores; it never scores")


def task(name: str, items: int, *, weight: float = 1.0, higher: bool = True, **judge: bool) -> Task:
    rows = tuple(Item(f"{name}{k}", name, {}) for k in range(items))
    splits = {"search": rows, "validation": rows, "test": rows}
    return Task(name, Judge(higher, **judge), splits, weight, name)


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


def test_model_that_is_surely_better_is_not_called_level() -> None:
    verdict = judge(
        WINNER, ("mum", "parent", scores(a=right(99))), ("ties", "default", scores(a=right(92)))
    )
    assert verdict.sentence.endswith(
        " It is worse than the parent mum (-0.090, p = 0.008). "
        "It is no better than ties (-0.020, p = 0.500)."
    )
    assert [line.ahead for line in verdict.lines] == [False, True, False]


def test_tasks_that_the_run_wants_low_are_known_and_stored() -> None:
    found = scores(a=right(90), prose=[2.0, 3.0], noise=[0.5, 0.4])
    noise = replace(task("noise", 2), minimise=True)
    tasks = [task("a", 100), task("prose", 2, higher=False), noise]
    verdict = judge(("candidate 7", "winner", found), tasks=tasks)
    assert verdict.lowered == ("prose", "noise")
    stored = json.loads(json.dumps(verdict.to_values()))
    assert read_verdict(stored).lowered == ("prose", "noise")
    del stored["lowered"]
    assert read_verdict(stored).lowered == ()


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
    rival = ("mum", "parent", scores(a=[0.0, 1.0] * 30))
    verdict = judge(("candidate 7", "winner", scores(a=[0.5, 0.25] * 30)), rival)
    assert verdict.lines[1].overall is not None
    wilson = wilson_interval(0.5, 60)
    assert (verdict.lines[1].overall.low, verdict.lines[1].overall.high) != wilson  # scores
    verdict = judge(("candidate 7", "winner", scores(a=[1.0, 0.0] * 30)), rival)
    assert verdict.lines[1].overall == Estimate(0.5, *wilson)  # a proportion


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


def test_a_heavy_task_of_few_items_is_not_outvoted_by_a_light_one_of_many() -> None:
    """All items count alike in a sign test; here the test asks what the score asks."""
    verdict = judge(
        ("candidate 7", "winner", scores(a=[1.0] * 30 + [0.0] * 10, b=[1.0] * 3 + [0.0] * 3)),
        ("mum", "parent", scores(a=[0.0] * 30 + [1.0] * 10, b=[0.0] * 3 + [1.0] * 3)),
        tasks=[task("a", 40, weight=0.01), task("b", 6, weight=0.99)],
    )
    line = verdict.lines[1]
    assert (line.wins, line.losses) == (33, 13)  # of which a sign test would make p = 0.005
    assert line.p_value == pytest.approx(1 - math.comb(6, 3) / 2**6, abs=0.005)  # b is a draw
    assert line.difference == pytest.approx(0.01 * 0.5)


def test_bits_and_right_answers_are_tested_in_their_own_units() -> None:
    bits = [1.0 + k / 50 for k in range(12)]
    verdict = judge(
        ("candidate 7", "winner", scores(a=right(60), b=[b - 0.2 for b in bits])),
        ("mum", "parent", scores(a=right(60), b=bits)),
        tasks=[task("a", 100), task("b", 12, higher=False)],
    )
    assert verdict.better
    assert verdict.lines[1].p_value == pytest.approx(2 / 2**12)
    assert verdict.lines[1].difference == pytest.approx(0.1)


def test_one_number_for_all_items_is_in_the_score_and_in_no_test() -> None:
    whole = scores(b=[0.25] * 5)["b"]
    verdict = judge(
        ("candidate 7", "winner", {**scores(a=right(90)), "b": whole}),
        ("mum", "parent", {**scores(a=right(60)), "b": dict.fromkeys(whole, 0.75)}),
        tasks=[task("a", 100, weight=0.6), task("b", 5, weight=0.4, per_item=False)],
    )
    winner, mum = verdict.lines
    assert winner.tasks["b"] == Estimate(0.25, None, None)
    assert winner.overall is not None
    assert winner.overall.mean == pytest.approx(0.6 * 0.9 + 0.4 * 0.25)
    assert winner.overall.low == pytest.approx(0.6 * wilson_interval(0.9, 100)[0] + 0.1)
    assert (mum.wins, mum.losses, mum.tested) == (30, 0, pytest.approx(0.3))
    assert mum.difference == pytest.approx(-0.02)  # of all that was asked, the merge is worse
    assert not mum.beaten
    assert verdict.untested == ("b",)
    assert verdict.sentence.endswith(
        " Task b gives one number for all items: in the scores, but in no interval and no test."
    )


def test_where_no_item_has_a_score_nothing_can_be_claimed() -> None:
    verdict = judge(
        ("candidate 7", "winner", scores(a=[0.9] * 4)),
        ("mum", "parent", scores(a=[0.1] * 4)),
        tasks=[task("a", 4, per_item=False, holds_out=False)],
    )
    assert not verdict.better
    assert verdict.lines[1].p_value is None
    assert "Its lead may be chance over the parent mum (+0.800)." in verdict.sentence
    assert "There is neither interval nor test, because task a gives one number" in verdict.sentence
    assert verdict.sentence.endswith("The search saw what was asked by a: nothing is held out.")
    assert verdict.doubtful


@pytest.mark.parametrize(
    ("claimed", "words"),
    [
        (
            0.97,
            "Its search score of 0.970 was 0.070 [+0.025, +0.144] too high: "
            "the best of many is also lucky.",
        ),
        (
            0.92,
            "Its search score of 0.920 holds, as far as can be told: "
            "it is off by +0.020 [-0.025, +0.094].",
        ),
        (0.6, "Its search score of 0.600 was 0.300 [+0.226, +0.345] too low: the test items are"),
    ],
)
def test_what_the_search_promised_too_much_is_said(claimed: float, words: str) -> None:
    rival = ("mum", "parent", scores(a=right(60)))
    verdict = reach_verdict([task("a", 100)], [WINNER, rival], search_score=claimed)
    assert words in verdict.sentence
    assert verdict.optimism is not None
    assert verdict.optimism.mean == pytest.approx(claimed - 0.9)


@pytest.mark.parametrize("judge_is", [{"per_item": False}, {"holds_out": False}])
def test_where_a_part_of_the_score_has_no_error_optimism_has_none_to_tell(
    judge_is: dict[str, bool],
) -> None:
    tasks = [task("a", 50), task("b", 5, **judge_is)]
    entries: list[tuple[str, str, Scores | str]] = [
        ("winner", "winner", scores(a=right(25, 50), b=[0.5] * 5)),
        ("parent", "parent", scores(a=right(20, 50), b=[0.4] * 5)),
    ]
    assert reach_verdict(tasks, entries, search_score=0.99).optimism is None


def test_optimism_of_equal_scores_of_any_range_is_not_known() -> None:
    entries: list[tuple[str, str, Scores | str]] = [("winner", "winner", scores(a=[3.2] * 20))]
    assert reach_verdict([task("a", 20)], entries, search_score=3.5).optimism is None


def test_marks_and_suspicions_are_part_of_the_sentence() -> None:
    mark = "a was searched on a public test set (someone/a)."
    verdict = reach_verdict(
        [task("a", 100)],
        [WINNER, ("mum", "parent", scores(a=right(60)))],
        marks=[mark],
        flags=["a: 38% of the answers are empty", "a: 12% of the answers repeat themselves"],
    )
    assert verdict.better
    assert verdict.doubtful
    assert verdict.sentence.endswith(
        f" {mark} Suspicious: a: 38% of the answers are empty; "
        "a: 12% of the answers repeat themselves."
    )


def test_a_check_of_the_exported_folder_is_added() -> None:
    plain = judge(WINNER, ("mum", "parent", scores(a=right(60))))
    assert plain.add_check("", ()) == plain
    checked = plain.add_check("All is well.", ())
    assert checked.sentence == f"{plain.sentence} All is well."
    assert not checked.doubtful
    wrong = plain.add_check("It differs.", ["the exported folder scores otherwise"])
    assert wrong.sentence.endswith(" It differs. Suspicious: the exported folder scores otherwise.")
    assert wrong.doubtful


def test_verdict_survives_the_store() -> None:
    verdict = reach_verdict(
        [task("a", 100), task("b", 5, per_item=False)],
        [
            ("candidate 7", "winner", scores(a=right(90), b=[1.0] * 5)),
            ("mum", "parent", scores(a=right(60), b=[0.5] * 5)),
            ("ties", "default", "raised"),
        ],
        search_score=0.99,
        marks=["Mark."],
        flags=["flag"],
    ).add_check("Checked.", ())
    assert read_verdict(json.loads(json.dumps(verdict.to_values()))) == verdict


def test_verdict_of_an_older_version_is_still_read() -> None:
    now = judge(WINNER, ("mum", "parent", scores(a=right(60))), ("ties", "default", "raised"))
    stored = json.loads(json.dumps(now.to_values()))
    for newer in ("optimism", "untested", "seen", "marks", "flags", "check"):
        del stored[newer]
    for line in stored["lines"]:
        del line["tested"]
    old = read_verdict(stored)
    assert (old.sentence, old.better, old.flags) == (now.sentence, now.better, ())
    assert [line.beaten for line in old.lines] == [line.beaten for line in now.lines]
