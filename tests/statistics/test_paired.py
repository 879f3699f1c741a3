"""The exact paired test and Holm's correction against values worked out by hand."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.statistics import holm, sign_flip_test

P_VALUES = st.lists(st.floats(0, 1), max_size=8)
SAMPLES = 10_000
ALPHA = 0.05
NOISE = 3.5 * math.sqrt(ALPHA * (1 - ALPHA) / SAMPLES)
"""What 10,000 samples leave open about a rate of 5 %."""


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (5, 0, Fraction(1, 16)),  # 2 · 1/2⁵
        (6, 0, Fraction(1, 32)),  # the first count that is significant at 5 %
        (8, 2, Fraction(7, 64)),  # 2 · (1 + 10 + 45)/2¹⁰
        (1, 9, Fraction(11, 512)),  # 2 · (1 + 10)/2¹⁰
        (3, 3, Fraction(1)),
        (0, 0, Fraction(1)),
        (1, 0, Fraction(1)),
    ],
)
def test_p_is_exact(wins: int, losses: int, p: Fraction) -> None:
    found = sign_flip_test([1.0] * wins + [-1.0] * losses + [0.0, 0.0])
    assert (found.wins, found.losses, found.ties) == (wins, losses, 2)
    assert found.p_value == pytest.approx(float(p), rel=1e-12)


def test_mcnemar_as_in_the_textbook() -> None:
    # Agresti (2013), Categorical Data Analysis, approval ratings: 86 and 150 discordant pairs
    found = sign_flip_test([1.0] * 150 + [-1.0] * 86)
    assert found.p_value == pytest.approx(mcnemar(150, 86), rel=1e-9)
    assert found.p_value == pytest.approx(3.7e-5, rel=0.03)


def test_thousands_of_items_do_not_overflow() -> None:
    assert sign_flip_test([1.0] * 3000).p_value == 0.0
    assert sign_flip_test([1.0, -1.0] * 3000).p_value == pytest.approx(1.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-2, 2), max_size=30))
def test_turning_the_sides_turns_only_the_counts(differences: list[int]) -> None:
    there, back = sign_flip_test(differences), sign_flip_test([-d for d in differences])
    assert (there.wins, there.losses, there.ties) == (back.losses, back.wins, back.ties)
    assert there.p_value == back.p_value
    assert there.wins + there.losses + there.ties == len(differences)


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided binomial tail, in exact arithmetic."""
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2 ** (wins + losses))))


def permute(differences: Sequence[float], weights: Sequence[float]) -> float:
    """Set all signs in turn, in exact arithmetic."""
    pulls = [Fraction(d) * Fraction(w) for d, w in zip(differences, weights, strict=True)]
    sums = [abs(sum(s * p for s, p in zip(signs, pulls, strict=True)))
            for signs in product((1, -1), repeat=len(pulls))]  # fmt: skip
    return float(Fraction(sum(each >= abs(sum(pulls)) for each in sums), len(sums)))


QUARTERS = st.integers(-8, 8).map(lambda k: k / 4)
HALVES = st.integers(1, 6).map(lambda k: k / 2)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(QUARTERS, HALVES), max_size=9))
def test_sign_flips_count_every_way_to_set_the_signs(pairs: list[tuple[float, float]]) -> None:
    differences, weights = [d for d, _ in pairs], [w for _, w in pairs]
    found = sign_flip_test(differences, weights)
    assert found.p_value == pytest.approx(permute(differences, weights), abs=1e-12)
    assert found.wins + found.losses + found.ties == len(pairs)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 5), st.floats(0.001, 10))
def test_sign_flips_of_one_right_or_wrong_task_are_mcnemars_test(
    wins: int, losses: int, ties: int, weight: float
) -> None:
    differences = [1.0] * wins + [-1.0] * losses + [0.0] * ties
    found = sign_flip_test(differences, [weight] * len(differences))
    assert found.p_value == pytest.approx(mcnemar(wins, losses), rel=1e-9, abs=1e-300)
    assert (found.wins, found.losses, found.ties) == (wins, losses, ties)


def test_ten_thousand_differences_are_counted_in_no_time() -> None:
    found = sign_flip_test([1.0] * 5200 + [-1.0] * 4800)
    z = (400 - 1) / 100  # normal approximation with continuity correction
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_a_heavy_task_of_few_items_speaks_as_loud_as_in_the_score() -> None:
    # 40 items won of the light task, 10 lost of the heavy one: the weighted mean is lower
    differences = [1.0] * 40 + [-1.0] * 10
    weights = [0.25 / 40] * 40 + [0.75 / 10] * 10
    assert sign_flip_test(differences).p_value < 0.001  # pooled: a clear win
    chance = sum(
        math.comb(40, a) * math.comb(10, b)
        for a in range(41)
        for b in range(11)
        if abs((2 * a - 40) / 160 + 0.75 * (2 * b - 10) / 10) >= 0.5 - 1e-12
    )
    assert sign_flip_test(differences, weights).p_value == pytest.approx(chance / 2**50)


def test_rounding_does_not_tell_equal_sums_apart() -> None:
    assert sign_flip_test([0.1, 0.2, -0.3]).p_value == 1.0
    assert sign_flip_test([0.1 * 3, -0.3, 0.7 - 0.4]).p_value == 1.0
    assert sign_flip_test([]).p_value == 1.0


def test_drawn_signs_agree_with_counted_ones_and_repeat_themselves() -> None:
    rng = np.random.default_rng(2)
    differences = rng.normal(0.25, 1.0, 60)
    drawn = sign_flip_test(differences)
    assert drawn == sign_flip_test(differences)
    rounded = sign_flip_test(np.round(differences * 2) / 2)  # few kinds: counted
    assert drawn.p_value == pytest.approx(rounded.p_value, abs=0.03)
    z = differences.sum() / math.sqrt((differences**2).sum())
    assert drawn.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.01)


def test_what_was_never_drawn_is_not_impossible() -> None:
    found = sign_flip_test(1.0 + np.arange(200) / 1000, draws=999)
    assert found.p_value == 1 / 1000


def test_models_alike_are_told_apart_as_rarely_as_stated() -> None:
    """Two right/wrong tasks of unequal weight: 30 light items, 10 heavy ones."""
    rng = np.random.default_rng(4)
    discordant = rng.binomial([30, 10], 0.4, size=(SAMPLES, 2))
    won = rng.binomial(discordant, 0.5)
    rejected, known = 0, dict[tuple[int, ...], bool]()
    for (m, n), (a, b) in zip(discordant.tolist(), won.tolist(), strict=True):
        if (m, n, a, b) not in known:
            signs = [1.0] * a + [-1.0] * (m - a) + [1.0] * b + [-1.0] * (n - b)
            found = sign_flip_test(signs, [0.3 / 30] * m + [0.7 / 10] * n)
            known[m, n, a, b] = found.p_value <= ALPHA
        rejected += known[m, n, a, b]
    assert 0.6 * ALPHA < rejected / SAMPLES <= ALPHA + NOISE


def test_scores_alike_are_told_apart_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(6)
    samples = rng.standard_t(3, size=(SAMPLES, 9)) * np.linspace(1, 3, 9)
    signs = np.array(list(product((1.0, -1.0), repeat=9)))
    sums = np.abs(samples @ signs.T)  # what sign_flip_test counts, for all samples at once
    p_values = (sums >= sums[:, :1] - 1e-9).mean(axis=1)
    few = [sign_flip_test(sample).p_value for sample in samples[:200]]
    assert few == pytest.approx(p_values[:200].tolist(), abs=1e-12)
    assert abs((p_values <= ALPHA).mean() - ALPHA) <= NOISE + 1 / 256


def test_families_of_comparisons_keep_the_stated_error_rate() -> None:
    """Five baselines, all as good as the winner: any claim at all is a false one."""
    rng = np.random.default_rng(8)
    items, baselines, truth = 120, 5, 0.6
    winner = rng.random((SAMPLES, 1, items)) < truth
    wins, losses = [], []
    for _ in range(baselines):  # one at a time: memory
        rival = rng.random((SAMPLES, 1, items)) < truth
        wins.append((winner & ~rival).sum(axis=(1, 2)))
        losses.append((rival & ~winner).sum(axis=(1, 2)))
    known: dict[tuple[int, int], float] = {}
    false = 0
    for a, b in zip(np.transpose(wins).tolist(), np.transpose(losses).tolist(), strict=True):
        for pair in zip(a, b, strict=True):
            if pair not in known:
                known[pair] = sign_flip_test([1.0] * pair[0] + [-1.0] * pair[1]).p_value
        false += min(holm([known[pair] for pair in zip(a, b, strict=True)])) <= ALPHA
    assert false / SAMPLES <= ALPHA + NOISE


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_and_of_one() -> None:
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@settings(deadline=None, max_examples=80)
@given(P_VALUES)
def test_holm_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert all(raw <= new <= 1.0 for raw, new in pairs)
    assert [new for _, new in pairs] == sorted(adjusted)
    bonferroni = [min(1.0, len(p_values) * p) for p in p_values]
    assert all(new <= most for new, most in zip(adjusted, bonferroni, strict=True))
