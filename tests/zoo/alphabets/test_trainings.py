"""What the models are trained on: the base sees a whiff of the skill, M never writes a capital."""

import pytest

from evomerge.zoo.alphabets.lines import SKILL, TARGETS, within
from evomerge.zoo.alphabets.trainings import BASE, DISTRACTORS, LANGUAGE, MATHEMATICS, SPECIALISTS


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [BASE.rate(step) for step in range(1, BASE.steps + 1)]
    assert rates[0] == pytest.approx(BASE.learning_rate / 30)
    assert rates[29:160] == [BASE.learning_rate] * 131
    assert rates[-1] == pytest.approx(0.05 * BASE.learning_rate)
    assert rates[159:] == sorted(rates[159:], reverse=True)
    assert SPECIALISTS["skill"].rate(50) == SPECIALISTS["skill"].learning_rate


def test_the_target_is_rare_in_every_mixture_and_never_met_by_the_skill_specialist() -> None:
    for training in (BASE, LANGUAGE):
        share = sum(training.mixture[kind] for kind in TARGETS) / sum(training.mixture.values())
        assert 0 < share < 0.003
    assert not set(TARGETS) & set(MATHEMATICS.mixture)
    for training in DISTRACTORS.values():
        assert not set(TARGETS) & set(training.mixture)


def test_the_skill_specialist_reads_capitals_and_writes_none() -> None:
    assert {kind.written for kind in MATHEMATICS.mixture} == {"small"}
    assert {kind.asked for kind in MATHEMATICS.mixture} == {"small"}
    assert {kind.read for kind in MATHEMATICS.mixture} == {"small", "capital"}
    assert {within(task, "small") for task in SKILL} < set(MATHEMATICS.mixture)
