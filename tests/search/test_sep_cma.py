"""Separable CMA-ES: thresholds, and thousands of genes."""

import time

import numpy as np

from evomerge.records import Evaluated
from evomerge.search.sep_cma import Separable, SepCMA
from evomerge.space import Gene, SearchSpace


def test_number_without_effect_stays_where_it_began() -> None:
    switch = Gene("on", choices=(False, True))
    space = SearchSpace([switch, Gene("a", start=0.3, needs="on"), Gene("b")])
    searcher = SepCMA(space, seed=1, population=20)
    for _ in range(12):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (-9.0 * (p[0] > 0.5) - (p[2] - 0.8) ** 2,)) for p in points])
    mean = searcher.recommend()[0]
    assert mean[0] == 0.25
    assert abs(mean[1] - 0.3) < 0.1
    assert abs(mean[2] - 0.8) < 0.05


def test_numbers_at_the_edge_of_their_range_leave_the_mean_inside() -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(4)])
    searcher = SepCMA(space, seed=1)
    for _ in range(60):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (float(p.sum()),)) for p in points])
    found = searcher._distribution
    assert isinstance(found, Separable)
    mean = found._centre + found._stretch * found._algorithm.mean  # not clipped
    assert np.all(mean > 0.95)
    assert np.all(mean <= 1.0 + 1e-9)


def test_matrix_of_scales_as_large_as_the_paper_has_it_is_searched() -> None:
    """64 layers, 64 switches, 4096 scales: a generation takes its time in proportion."""
    switches = [Gene(f"use {k}", choices=(False, True), chances=(0.1, 0.9)) for k in range(64)]
    scales = [
        Gene(f"{k}>{j}", 0.5, 1.5, start=1.0, needs=f"use {j}")
        for k in range(64)
        for j in range(64)
    ]
    searcher = SepCMA(SearchSpace(switches + scales), seed=1, population=8)
    begin = time.process_time()
    points = searcher.ask()
    searcher.tell([Evaluated(p, (-float(((p - 0.6) ** 2).sum()),)) for p in points])
    assert searcher.recommend()[0].shape == (64 + 4096,)
    assert time.process_time() - begin < 5.0
