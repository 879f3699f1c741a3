"""What competitors earned, as a table."""

import math

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.selection import Entrant, tabulate


def test_what_failed_or_was_dropped_misses_every_bound() -> None:
    point = np.zeros(2)
    results = [
        Evaluated(point, (0.5, 0.25), violation=0.1),
        Evaluated(point, (math.nan,), failure="it failed"),
        Evaluated(point, (0.9, 0.9), raced_out=True),
    ]
    points, violations = tabulate([Entrant(k, result) for k, result in enumerate(results)])
    assert np.array_equal(points, [[0.5, 0.25], [math.nan] * 2, [0.9, 0.9]], equal_nan=True)
    assert violations.tolist() == [0.1, math.inf, math.inf]
