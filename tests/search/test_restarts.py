"""Which restart follows which, and how the evaluations are divided."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.search.restarts import Schedule


def test_ipop_doubles_the_population_every_time() -> None:
    schedule = Schedule("ipop", 7, np.random.default_rng(0))
    found = [schedule.next(spent) for spent in (100, 5, 900)]
    assert [restart.population for restart in found] == [14, 28, 56]
    assert {(restart.step, restart.most) for restart in found} == {(1.0, None)}


def test_bipop_turns_to_small_searches_while_these_have_had_less() -> None:
    schedule = Schedule("bipop", 10, np.random.default_rng(0))
    assert schedule.next(1000).population == 20  # what the first search took counts for neither
    assert schedule.next(300).most == 150
    assert schedule.next(100).most == 150  # 100 of 300
    assert schedule.next(150).most == 150  # 250 of 300
    assert schedule.next(60).population == 40  # 310 of 300


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 999), spent=st.lists(st.integers(10, 400), min_size=3, max_size=40))
def test_bipop_gives_both_kinds_equal_parts(seed: int, spent: list[int]) -> None:
    schedule = Schedule("bipop", 10, np.random.default_rng(seed))
    restart, taken = schedule.next(50), {True: 0, False: 0}
    largest = 20
    for evaluations in spent:
        small = restart.most is not None
        if small:
            assert 10 <= restart.population <= max(10, largest // 2)
            assert 0.01 <= restart.step <= 1.0
        else:
            assert (restart.population, restart.step) == (largest, 1.0)
        taken[small] += evaluations
        restart = schedule.next(evaluations)
        assert (restart.most is not None) is (taken[True] < taken[False])
        largest *= 2 if restart.most is None else 1
