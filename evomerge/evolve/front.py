"""The front of a run with several goals: who is on it, its knee, how far it has come.

Pure functions of stored rows: they tell the same of a run that goes on and of a finished one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evomerge.pareto import choose_survivors, find_knee, hypervolume, non_dominated_sort
from evomerge.records import Evaluated
from evomerge.store import CandidateRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]


EXACT = 4
"""Most goals whose hypervolume is computed; of more it is estimated, for it would take hours."""
SAMPLES = 16384
"""Points at which it is estimated, the same ones in every round."""


@dataclass(frozen=True)
class Front:
    """Candidates none of which is better than another in every goal.

    Attributes:
        goals: their names.
        rows: the candidates, the best in the first goal first; of those that are equal in every
            goal the best overall, or the first.
        knee: place of the one that is the compromise.
    """

    goals: tuple[str, ...]
    rows: tuple[CandidateRow, ...]
    knee: int


def find_front(rows: Sequence[CandidateRow]) -> Front | None:
    """Return the front of candidates that met all items; None where none has several goals.

    Where bounds are kept by nobody, it is the candidates that miss them by least.
    """
    distinct: dict[tuple[float, ...], CandidateRow] = {}
    for row in sorted(rows, key=lambda row: (-(row.objective or 0.0), row.number)):
        if row.state == "done" and row.goals:
            distinct.setdefault((*row.goals.values(), row.violation), row)
    rows = list(distinct.values())
    if not rows:
        return None
    points, violations = _points(rows), [row.violation for row in rows]
    fronts = non_dominated_sort(points, violations)
    order = sorted(np.flatnonzero(fronts == 0).tolist(), key=lambda k: (*-points[k], k))
    knee = _choose(points, violations, [row.objective or 0.0 for row in rows])
    return Front(tuple(rows[0].goals), tuple(rows[k] for k in order), order.index(knee))


def choose_compromise(results: Sequence[Evaluated]) -> int:
    """Return the place of the knee of the results' front; one of them was measured.

    What failed is on no front.
    """
    measured = [k for k, result in enumerate(results) if result.standing == 2]
    found = [results[k] for k in measured]
    points = np.array([result.objectives for result in found])
    overall = [result.rank_key[-1] for result in found]
    return measured[_choose(points, [result.violation for result in found], overall)]


def choose_spread(rows: Sequence[CandidateRow], count: int) -> list[CandidateRow]:
    """Return the best candidates, the first front thinned or the next ones added to it."""
    kept = choose_survivors(_points(rows), count, [row.violation for row in rows])
    return [rows[place] for place in kept]


def find_distinct(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """Return the first candidate of every merge."""
    distinct: dict[str, CandidateRow] = {}
    for row in rows:
        distinct.setdefault(row.fingerprint, row)
    return list(distinct.values())


def measure_progress(
    parents: Sequence[CandidateRow], candidates: Sequence[CandidateRow]
) -> list[float]:
    """Return the hypervolume of all that was found up to each round of a search.

    Measured above the worst parent in every goal, in units of the box between the worst and the
    best parent: 1 is a merge as good as the best parent of every goal at once. A goal in which all
    parents are equal has its own unit. What misses a bound adds nothing. With more than `EXACT`
    goals it is estimated at `SAMPLES` fixed points.

    Args:
        parents: as they did on the search items.
        candidates: of the search.
    """
    base = _points([row for row in parents if row.goals])
    if not len(base) or not candidates:
        return []
    worst, extent = base.min(axis=0), np.ptp(base, axis=0)
    scale = np.where(extent > 0.0, extent, 1.0)
    rounds: dict[int, list[CandidateRow]] = {row.round: [] for row in candidates}
    for row in candidates:
        if row.state == "done" and row.violation == 0.0:
            rounds[row.round].append(row)
    found = [(_points(rounds[k]).reshape(-1, len(worst)) - worst) / scale for k in sorted(rounds)]
    return _measure(found) if len(worst) <= EXACT else _estimate(found)


def _measure(rounds: Sequence["Points"]) -> list[float]:
    """Return the hypervolume above 0 of all points up to each round."""
    volumes, front = list[float](), rounds[0][:0]
    for points in rounds:
        before = front
        front = np.unique(np.concatenate([front, points]), axis=0)
        front = front[non_dominated_sort(front) == 0]
        same = volumes and np.array_equal(before, front)
        volumes.append(volumes[-1] if same else hypervolume(front, np.zeros(front.shape[1])))
    return volumes


def _estimate(rounds: Sequence["Points"]) -> list[float]:
    """Return about the same: the share of points drawn below the best of every goal."""
    highest = np.concatenate(rounds).max(axis=0, initial=0.0)
    left = np.random.default_rng(0).random((SAMPLES, len(highest))) * highest
    volumes = list[float]()
    for points in rounds:
        for point in np.unique(points, axis=0):
            left = left[(left >= point).any(axis=1)]
        volumes.append(float(highest.prod()) * (1.0 - len(left) / SAMPLES))
    return volumes


def _points(rows: Sequence[CandidateRow]) -> "Points":
    return np.array([[*row.goals.values()] for row in rows], dtype=np.float64)


def _choose(points: "Points", violations: Sequence[float], overall: Sequence[float]) -> int:
    """Return the place of the knee of the first front; of equals, the best overall."""
    on = np.flatnonzero(non_dominated_sort(points, violations) == 0).tolist()
    on.sort(key=lambda k: (-overall[k], k))
    return int(on[find_knee(points[on])])
