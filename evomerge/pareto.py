"""Several goals at once: who dominates whom, fronts, crowding, hypervolume, the knee.

Dominance under constraints and crowding are those of NSGA-II (Deb et al., 2002):
https://doi.org/10.1109/4235.996017

Points have shape (n, goals), and more is better in every goal. A violation says by how much a point
misses its bounds: 0 where it keeps them. A point with a NaN counts as missing them by infinity.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Points = NDArray[np.float64]


def non_dominated_sort(
    points: "ArrayLike", violations: "ArrayLike | None" = None
) -> "NDArray[np.int64]":
    """Return the front of every point, int64, shape (n,).

    0 is the front that nobody dominates, 1 the front that only points of 0 dominate, and so on.

    Args:
        points: shape (n, goals).
        violations: shape (n,), >= 0; none where absent.
    """
    points = np.asarray(points, dtype=np.float64)
    missed = np.asarray(0.0 if violations is None else violations, dtype=np.float64)
    missed = np.where(np.isnan(points).any(axis=1), np.inf, missed)
    fronts, sound, number = np.empty(len(points), dtype=np.int64), missed <= 0.0, 0
    # whoever dominates a point comes before it in this order, so that one pass peels off a front
    left = np.flatnonzero(sound)[np.lexsort(-points[sound].T[::-1])]
    while len(left):
        front, waiting = _peel(points[left])
        fronts[left[front]] = number
        left, number = left[waiting], number + 1
    fronts[~sound] = number + np.unique(missed[~sound], return_inverse=True)[1]
    return fronts


def crowding_distance(points: "ArrayLike") -> "Points":
    """Return how lonely each point of a front is, shape (n,); infinity at the ends of a goal.

    The sum over goals of the gap between its neighbours on both sides, in units of the front's
    extent in that goal.
    """
    points = np.asarray(points, dtype=np.float64)
    distances = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if extent > 0.0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return distances


def rank_crowded(
    points: "ArrayLike", violations: "ArrayLike | None" = None
) -> list[tuple[float, ...]]:
    """Return what decides who of several has children: the front, then how lonely; greater wins.

    Args:
        points: shape (n, goals).
        violations: shape (n,), >= 0; none where absent.
    """
    points = np.asarray(points, dtype=np.float64)
    fronts, crowding = non_dominated_sort(points, violations), np.empty(len(points))
    for number in set(fronts.tolist()):
        crowding[fronts == number] = crowding_distance(points[fronts == number])
    return [(-float(f), float(c)) for f, c in zip(fronts, crowding, strict=True)]


def choose_survivors(
    points: "ArrayLike", count: int, violations: "ArrayLike | None" = None
) -> "NDArray[np.int64]":
    """Return the places of the `count` best points, int64, the best fronts first.

    Whole fronts as far as they go; the last of them loses its most crowded point, one after the
    other, until it fits (Kukkonen and Deb, 2006).
    """
    points = np.asarray(points, dtype=np.float64)
    fronts, kept = non_dominated_sort(points, violations), list[int]()
    for number in range(int(fronts.max(initial=-1)) + 1):
        members = np.flatnonzero(fronts == number)
        kept += _thin(points, members, count - len(kept))
    return np.array(kept, dtype=np.int64)


def hypervolume(points: "ArrayLike", reference: "ArrayLike") -> float:
    """Return the volume that points dominate above a reference, for any number of goals.

    Exact; exclusive volumes point by point, the last goal swept (While et al., 2012):
    https://doi.org/10.1109/TEVC.2010.2077298

    Args:
        points: shape (n, goals); what is not above the reference in every goal adds nothing.
        reference: shape (goals,).

    Raises:
        ValueError: they have different numbers of goals.
    """
    reference = np.asarray(reference, dtype=np.float64)
    points = np.asarray(points, dtype=np.float64).reshape(-1, len(reference))
    above = points - reference
    return _volume(_undominated(above[(above > 0.0).all(axis=1)]))


def find_knee(points: "ArrayLike") -> int:
    """Return the place of the front's knee, where little is given up for much.

    Goals are scaled to the front's extent. The knee is the point furthest beyond the plane through
    the best point of every goal (Das, 1999); where none lies beyond it, the point closest to the
    best of all goals at once. The first of equals. https://doi.org/10.1007/BF01195985

    Args:
        points: a front, shape (n, goals), n >= 1, finite.
    """
    points = np.asarray(points, dtype=np.float64)
    extent = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(extent > 0.0, extent, 1.0)
    scaled = scaled[:, extent > 0.0]  # a goal in which all are equal says nothing
    beyond = scaled @ _normal(scaled[scaled.argmax(axis=0)]) - 1.0
    if beyond.max(initial=-1.0) > 1e-9:
        return int(beyond.argmax())
    return int(((1.0 - scaled) ** 2).sum(axis=1).argmin())


def _peel(points: "Points") -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Return the places of those whom nobody dominates, and of the others, both in order.

    Memory grows with the number of points, not with its square.

    Args:
        points: shape (n, goals); whoever dominates another comes before it.
    """
    front, waiting = list[int](), np.zeros(len(points), dtype=np.bool_)
    left = np.arange(len(points))
    while len(left):
        best, left = left[0], left[1:]
        front.append(int(best))
        others = points[left]
        worse = (points[best] >= others).all(axis=1) & (points[best] > others).any(axis=1)
        waiting[left[worse]] = True
        left = left[~worse]
    return np.array(front, dtype=np.int64), np.flatnonzero(waiting)


def _undominated(points: "Points") -> "Points":
    if not len(points):
        return points
    points = np.unique(points, axis=0)[::-1]
    return points[_peel(points)[0]]


def _thin(points: "Points", members: "NDArray[np.int64]", count: int) -> list[int]:
    """Return at most `count` members of a front, the least crowded, in their order."""
    left = members if count > 0 else members[:0]
    while len(left) > count > 0:
        left = np.delete(left, crowding_distance(points[left]).argmin())
    return [int(place) for place in left]


def _volume(points: "Points") -> float:
    """Return the volume between the origin and points above it."""
    goals = points.shape[1]
    if not len(points) or goals == 1:
        return float(points.max(initial=0.0))
    points = points[np.argsort(-points[:, -1], kind="stable")]
    if goals == 2:
        reach = np.maximum.accumulate(points[:, 0])
        return float((np.diff(reach, prepend=0.0) * points[:, 1]).sum())
    flat = points[:, :-1]
    shared = [_volume(_undominated(np.minimum(flat[:k], p))) for k, p in enumerate(flat)]
    return float(((flat.prod(axis=1) - shared) * points[:, -1]).sum())


def _normal(corners: "Points") -> "Points":
    """Return n with n·c = 1 at every corner; that of the plane Σx = 1 where there is no such one.

    Args:
        corners: the best point of every goal, shape (goals, goals).
    """
    plain = np.ones(len(corners))
    if abs(np.linalg.det(corners)) < 1e-9:
        return plain
    normal = np.asarray(np.linalg.solve(corners, plain), dtype=np.float64)
    return normal if (normal > 0.0).all() else plain
