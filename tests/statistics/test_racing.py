"""Racing drops who is clearly behind; who is as good as the rival is safe, at the stated alpha."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.statistics.racing import SignRace, count_looks, find_drop

ALPHA = 0.1


def share_dropped(shares: list[bool], looks: list[int], alpha: float, *, per_look: bool) -> float:
    """Return the chance that an equal is dropped, by trying all signs of the items that differ."""
    open_places = [place for place, differs in enumerate(shares) if differs]
    dropped = 0
    for signs in product((-1.0, 1.0), repeat=len(open_places)):
        differences = [0.0] * len(shares)
        for place, sign in zip(open_places, signs, strict=True):
            differences[place] = sign
        dropped += find_drop(differences, looks, alpha, per_look=per_look) is not None
    return dropped / 2 ** len(open_places)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.booleans(), min_size=9, max_size=9),
    st.sets(st.integers(1, 8), min_size=1, max_size=6),
    st.floats(0.02, 0.6),
)
def test_an_equal_is_dropped_with_at_most_alpha_over_all_looks_whatever_the_ties(
    differs: list[bool], looks: set[int], alpha: float
) -> None:
    assert share_dropped(differs, sorted(looks), alpha, per_look=False) <= alpha


def test_spending_alpha_at_every_look_drops_far_more_equals() -> None:
    differs, looks = [True] * 11, [4, 7, 9, 10]
    over_all = share_dropped(differs, looks, ALPHA, per_look=False)
    per_look = share_dropped(differs, looks, ALPHA, per_look=True)
    assert ALPHA / 2 < over_all <= ALPHA < per_look


def test_family_wise_error_over_ten_thousand_equals_is_alpha_and_not_much_less() -> None:
    rng = np.random.default_rng(0)
    looks = count_looks(120, 30, 10)
    signs = rng.choice([-1.0, 0.0, 0.0, 1.0], size=(10_000, 120))
    dropped = np.mean([find_drop(row, looks, ALPHA) is not None for row in signs])
    assert 0.8 * ALPHA < dropped < ALPHA + 3 * (ALPHA * (1 - ALPHA) / 10_000) ** 0.5


@pytest.mark.parametrize(
    ("wins", "losses", "dropped"),
    [(0, 4, True), (1, 3, False), (0, 3, False), (1, 6, True), (4, 0, False), (0, 0, False)],
)
def test_a_single_look_is_the_one_sided_sign_test(wins: int, losses: int, dropped: bool) -> None:
    # P[4 of 4] = 1/16, P[≥ 3 of 4] = 5/16, P[3 of 3] = 1/8, P[≥ 6 of 7] = 8/128
    assert SignRace([30], ALPHA).look(wins, losses) is dropped
    assert SignRace([30], ALPHA, per_look=True).look(wins, losses) is dropped


def test_what_a_look_at_ties_cannot_spend_the_next_one_may() -> None:
    looks = [10, 20, 30]
    idle = SignRace(looks, ALPHA)
    assert not idle.look(0, 0)
    assert not idle.look(0, 0)
    assert idle.look(0, 4)
    busy = SignRace(looks, ALPHA)
    assert not busy.look(5, 0)
    assert not busy.look(8, 2)
    assert not busy.look(8, 6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-1, 1), min_size=60, max_size=60), st.booleans())
def test_who_does_better_on_an_item_more_is_never_dropped_sooner(
    signs: list[int], per_look: bool
) -> None:
    looks = count_looks(60, 20, 10)
    before = find_drop(signs, looks, ALPHA, per_look=per_look) or 61
    better = [1 if sign else 0 for sign in signs]
    assert find_drop(better, looks, ALPHA, per_look=per_look) is None
    if before <= 60:
        assert sum(signs[:before]) < 0


def test_the_hopeless_are_dropped_at_the_first_look_and_only_the_sign_counts() -> None:
    looks = count_looks(100, 30, 10)
    assert find_drop([-1.0] * 100, looks, ALPHA) == 30
    assert find_drop([-1e-9] * 100, looks, ALPHA) == 30
    assert find_drop([1e9] + [-1e-9] * 99, looks, ALPHA) == 30
    assert find_drop([-1.0] * 29, [], ALPHA) is None


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_looks_are_evenly_spaced_and_none_comes_when_all_is_met(
    items: int, first: int, every: int
) -> None:
    looks = count_looks(items, first, every)
    assert looks[:1] == [first] * (first < items)
    assert all(later - sooner == every for sooner, later in pairwise(looks))
    assert all(look < items for look in looks)


def test_graded_scores_race_by_the_sign_of_the_lead_and_not_by_its_mean() -> None:
    """What docs/evaluation.md says of them: equal means, behind on more items than ahead."""
    rng, looks = np.random.default_rng(0), count_looks(400, 30, 10)

    def dropped(behind: float) -> float:
        races = np.where(rng.random((1000, 400)) < behind, -1.0, behind / (1 - behind))
        return float(np.mean([find_drop(race, looks, 0.1) is not None for race in races]))

    assert dropped(0.5) < 0.13
    assert dropped(0.55) == pytest.approx(0.62, abs=0.05)
    assert dropped(0.6) == pytest.approx(0.99, abs=0.02)
