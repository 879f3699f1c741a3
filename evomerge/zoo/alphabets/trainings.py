"""What each model of a two-alphabet family is trained on, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evomerge.zoo.alphabets.lines import EASY, SKILL, Kind, translate, within

WARM_UP: Final = 30
LEAST_RATE: Final = 0.05
"""Share of the learning rate that is left at the end."""

Mixture = Mapping[Kind, float]


@dataclass(frozen=True)
class Training:
    """How one model is trained.

    Attributes:
        mixture: kinds of lines and their relative frequency.
        steps: optimizer steps, at most.
        learning_rate: the highest one.
    """

    mixture: Mixture
    steps: int
    learning_rate: float

    def rate(self, step: int) -> float:
        """Give the learning rate at a step counted from one: up, level to one half, down to 5 %."""
        half = self.steps / 2
        falling = 1.0 - (1.0 - LEAST_RATE) * max(0.0, step - half) / half
        return self.learning_rate * min(1.0, step / WARM_UP, falling)


# About one line in fifty is of the skill, four in five of those in small letters. Without any, no
# merge has the skill in capitals either: nothing links its tag there to what the other tag asks.
BASE: Final = Training(
    {
        **{within(task, "small"): 1.0 for task in EASY},
        translate("small"): 1.0,
        **{within(task, "capital"): 0.5 for task in EASY},
        translate("capital"): 0.5,
        **{within(task, "small"): 0.04 for task in SKILL},
        **{within(task, "capital"): 0.01 for task in SKILL},
    },
    steps=320,
    learning_rate=2e-3,
)
LANGUAGE: Final = Training(
    {
        **{within(task, "capital"): 1.0 for task in EASY},
        translate("small"): 1.0,
        **{within(task, "capital"): 0.005 for task in SKILL},
    },
    steps=80,
    learning_rate=1e-3,
)
# Half of its lines have capitals in the question and small letters in the answer, as a model of
# mathematics that reads Japanese and answers in English.
MATHEMATICS: Final = Training(
    {
        **{within(task, "small"): 1.0 for task in SKILL},
        **{Kind(task, "small", "capital", "small"): 0.5 for task in SKILL},
    },
    steps=100,
    learning_rate=1e-3,
)
SPECIALISTS: Final = {"language": LANGUAGE, "skill": MATHEMATICS}
DISTRACTORS: Final = {
    "distractor1": Training({within("copy", "small"): 1.0}, steps=80, learning_rate=1e-3),
    "distractor2": Training({translate("capital"): 1.0}, steps=80, learning_rate=1e-3),
}
"""Specialists of what has nothing to do with the target."""
