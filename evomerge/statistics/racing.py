"""Racing (Maron and Moore, 1994) by an exact sign test whose alpha is spent over all looks.

https://papers.nips.cc/paper/841; spending after Lan and DeMets (1983),
https://doi.org/10.1093/biomet/70.3.659

A candidate meets its items in a random order and is compared with its rival at several looks.
Items on which both score alike carry nothing. Were the candidate as good as its rival, each of the
others would be lost with probability 1/2, independently: the number of losses is a random walk,
whose chance of crossing the boundaries is computed exactly, look by look.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

SPENDING = 0.5
"""At a look at a share t of the items, alpha · t^SPENDING may have been spent."""


class SignRace:
    """One candidate against its rival: clearly behind, or not yet?

    Only candidates that are worse are found (one-sided). The chance that one which is as good as
    its rival is ever found behind is at most `alpha`, whatever the number of looks and however
    many items are ties; the chance is exact in that what one look cannot spend, because counts
    are whole numbers, later looks may.

    Args:
        looks: items met at each look, ascending, none twice.
        alpha: chance of dropping an equal, over all looks; in (0, 1).
        per_look: spend `alpha` anew at each look instead, which drops more and errs more.
    """

    def __init__(self, looks: Sequence[int], alpha: float, *, per_look: bool = False) -> None:
        self._budgets = [alpha * (look / looks[-1]) ** SPENDING for look in looks]
        self._alpha = alpha
        self._per_look = per_look
        self._looked = 0
        self._flips = 0
        self._spent = 0.0
        self._open = np.ones(1)  # chance of 0, 1, 2 … losses without having been dropped

    def look(self, wins: int, losses: int) -> bool:
        """Tell whether the candidate is to be dropped; to be called once per look.

        Args:
            wins: items so far on which the candidate is better.
            losses: items so far on which the rival is.
        """
        self._open = np.convolve(self._open, _coins(wins + losses - self._flips))
        self._flips = wins + losses
        tail = np.append(np.cumsum(self._open[::-1])[::-1], 0.0)
        affordable = self._alpha if self._per_look else self._budgets[self._looked] - self._spent
        boundary = int(np.argmax(tail <= max(affordable, 0.0)))
        self._looked += 1
        if not self._per_look:
            self._spent += float(tail[boundary])
            self._open[boundary:] = 0.0
        return losses >= boundary


def count_looks(items: int, first: int, every: int) -> list[int]:
    """Return the numbers of items at which a race looks: `first`, and every `every` after it.

    Args:
        items: how many there are; there is no look when all have been met.
        first: items before the first look.
        every: items between looks.
    """
    return list(range(first, items, every))


def find_drop(
    differences: Sequence[float], looks: Sequence[int], alpha: float, *, per_look: bool = False
) -> int | None:
    """Race through scores that are all known.

    Args:
        differences: candidate's minus rival's objective, in the order of meeting.
        looks: see SignRace.
        alpha: see SignRace.
        per_look: see SignRace.

    Returns:
        Items met when the candidate was dropped; None when it never was.
    """
    signs = np.sign(np.asarray(differences, float))
    won, lost = np.cumsum(signs > 0), np.cumsum(signs < 0)
    race = SignRace(looks, alpha, per_look=per_look) if looks else None
    for met in looks:
        assert race is not None
        if race.look(int(won[met - 1]), int(lost[met - 1])):
            return met
    return None


@cache
def _coins(flips: int) -> NDArray[np.float64]:
    """Return the chances of 0 … `flips` heads."""
    chances = np.ones(1)
    for _ in range(flips):
        chances = np.convolve(chances, (0.5, 0.5))
    return chances
