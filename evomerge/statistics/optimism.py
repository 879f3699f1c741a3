"""How much a search score promises too much (the winner's curse).

The best of many noisy scores is one that was lucky: of 1,000 candidates on 100 items, the best
seems 12 points better than it is. What it is, only items tell that no choice rested on.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Optimism:
    """By how much a score was too high: estimate and 95 % interval; negative where too low."""

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Tell whether the score was too high, and not by chance of the test items."""
        return self.low > 0


def measure_optimism(claimed: float, mean: float, low: float, high: float) -> Optimism:
    """Compare the score that a choice rested on with what fresh items say.

    The claimed score is a known number, and only what it claims is uncertain: the interval of the
    fresh score, turned round, holds the claim's error as often as that interval holds the truth.

    Args:
        claimed: the score that was chosen for being high.
        mean: score on items that no choice rested on.
        low: lower limit of that score.
        high: upper limit.
    """
    return Optimism(claimed - mean, claimed - high, claimed - low)
