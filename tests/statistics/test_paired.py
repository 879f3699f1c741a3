"""The exact sign test and Holm's correction against values worked out by hand."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.statistics import PairedTest, holm, paired_sign_test

P_VALUES = st.lists(st.floats(0, 1), max_size=8)


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
    a = [1.0] * wins + [0.0] * losses + [0.5, 1.0]
    b = [0.0] * wins + [1.0] * losses + [0.5, 1.0]
    assert paired_sign_test(a, b) == PairedTest(wins, losses, 2, float(p))


def test_mcnemar_as_in_the_textbook() -> None:
    # Agresti (2013), Categorical Data Analysis, approval ratings: 86 and 150 discordant pairs
    a, b = [1] * 150 + [0] * 86, [0] * 150 + [1] * 86
    tail = sum(math.comb(236, k) for k in range(87))
    assert paired_sign_test(a, b).p_value == float(Fraction(2 * tail, 2**236))
    assert paired_sign_test(a, b).p_value == pytest.approx(3.7e-5, rel=0.03)


def test_thousands_of_items_do_not_overflow() -> None:
    assert paired_sign_test([1.0] * 3000, [0.0] * 3000).p_value == 0.0
    assert paired_sign_test([1.0, 0.0] * 3000, [0.0, 1.0] * 3000).p_value == 1.0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_turning_the_sides_turns_only_the_counts(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    there, back = paired_sign_test(a, b), paired_sign_test(b, a)
    assert (there.wins, there.losses, there.ties) == (back.losses, back.wins, back.ties)
    assert there.p_value == back.p_value
    assert there.wins + there.losses + there.ties == len(pairs)


def test_items_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="need the same items, not 1 and 3"):
        paired_sign_test([1.0], [1.0, 0.0, 1.0])


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
