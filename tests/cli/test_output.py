"""Tables for people: what a number is, which way is up, and what is not known."""

from pathlib import Path

import pytest

from evomerge.cli.output import print_result, print_verdict
from evomerge.evolve.comparison import Estimate, Line
from evomerge.evolve.run import RunResult
from evomerge.evolve.verdict import Verdict

BOTH = {"sums": Estimate(0.5, 0.4, 0.6), "prose": Estimate(2.5, 2.4, 2.6)}
WINNER = Line("candidate 0", "winner", Estimate(0.5, 0.4, 0.6), BOTH)


def verdict(lowered: tuple[str, ...] = (), search_score: float | None = None) -> Verdict:
    return Verdict("So it is.", False, (WINNER,), 10, search_score, 0.5, lowered=lowered)


def test_task_that_is_better_when_lower_carries_an_arrow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_verdict(verdict(lowered=("prose",)))
    told = capsys.readouterr().out
    assert "By task (↓: lower is better)" in told
    assert "sums  prose ↓" in told
    print_verdict(verdict())
    assert "↓" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("score", "words"),
    [(0.75, "search 0.750, validation"), (None, "search unknown (it did not meet all items), val")],
)
def test_search_score_that_does_not_exist_is_said_to_be_unknown(
    score: float | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RunResult(Path("runs/a"), None, verdict(search_score=score), 1.0, 1.0)
    print_result(result)
    assert words in " ".join(capsys.readouterr().out.split())
