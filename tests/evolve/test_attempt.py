"""A candidate on its way: whatever is raised is its failure, and it leaves when it is over."""

import pytest

from evomerge.errors import EvaluationError
from evomerge.evolve.attempt import Attempt
from evomerge.records import Candidate, Job


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(Candidate("f", None), Job(0, (), {"task": (0,)}))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (EvaluationError("it cannot be", "Do something"), "it cannot be. Do something"),
        (KeyError("why"), "KeyError: 'why'"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_whatever_is_raised_is_the_candidates_failure(
    error: BaseException, failure: str, attempt: Attempt
) -> None:
    left: list[str] = []
    attempt.leave = lambda: left.append("left")
    attempt.scores["task"]["i"] = 1.0
    with attempt.at("evaluate"):
        raise error
    assert attempt.failure.startswith(failure)
    assert not attempt.goes_on
    assert left == ["left"]
    outcome = attempt.outcome()
    assert (outcome.failure, outcome.scores, outcome.audit) == (attempt.failure, {}, {})


def test_an_interrupt_is_nobodys_failure(attempt: Attempt) -> None:
    with pytest.raises(KeyboardInterrupt), attempt.at("evaluate"):
        raise KeyboardInterrupt
    assert attempt.goes_on


def test_one_that_is_dropped_keeps_its_scores_and_leaves(attempt: Attempt) -> None:
    left: list[str] = []
    attempt.leave = lambda: left.append("left")
    attempt.scores["task"]["i"] = 1.0
    attempt.drop()
    outcome = attempt.outcome()
    assert (outcome.raced_out, outcome.scores, left) == (True, {"task": {"i": 1.0}}, ["left"])
    assert not attempt.goes_on


def test_time_of_a_stage_adds_up(attempt: Attempt) -> None:
    for _ in range(2):
        with attempt.at("evaluate"):
            pass
    assert attempt.outcome().seconds["evaluate"] > 0
    assert "merge" not in attempt.outcome().seconds
