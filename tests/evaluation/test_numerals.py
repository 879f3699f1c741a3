"""Numbers as answers write them, in every notation."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evaluation.numerals import Notation, find_last_number, notation_of

WHOLE = st.integers(-(10**12), 10**12)
TENTHS = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n) / 100)


@settings(deadline=None, max_examples=100)
@given(WHOLE)
def test_groups_of_three_do_not_change_a_number(n: int) -> None:
    grouped = f"{n:,}"
    assert find_last_number(f"It makes {grouped}.") == n
    assert find_last_number(f"Es sind {grouped.replace(',', '.')}.", "comma") == n
    assert find_last_number(f"Cela fait {grouped.replace(',', chr(0x202F))} €.", "comma") == n
    assert find_last_number(f"Cela fait {grouped.replace(',', ' ')} €.", "comma") == n


@settings(deadline=None, max_examples=100)
@given(TENTHS)
def test_decimals_are_read_as_the_language_writes_them(value: Decimal) -> None:
    english = f"{value:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert find_last_number(f"so {english}") == value
    assert find_last_number(f"also {german}", "comma") == value


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**9), st.sampled_from("০๐౦०٠０"))  # noqa: RUF001 - digits of other scripts
def test_digits_of_every_script_count(n: int, zero: str) -> None:
    written = str(n).translate({ord("0") + k: ord(zero) + k for k in range(10)})
    assert find_last_number(f"x {written} y") == n


@settings(deadline=None, max_examples=200)
@given(st.text(), st.sampled_from(["point", "comma", "paper"]))
def test_any_text_has_a_last_number_or_none(text: str, notation: Notation) -> None:
    found = find_last_number(text, notation)
    assert found is None or found.is_finite()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("18", "18"),
        ("The answer is 18.", "18"),
        ("1,234", "1234"),
        ("1,234.0", "1234"),
        ("1,234.50 dollars", "1234.5"),
        ("12,34,567 rupees", "1234567"),
        ("$1,234,567.", "1234567"),
        ("€50", "50"),
        ("¥1,000です。", "1000"),
        ("答えは１，２３４円です", "1234"),  # noqa: RUF001 - full-width
        ("答えは３．５です", "3.5"),  # noqa: RUF001 - full-width
        ("答えは-5です", "-5"),
        ("答えは－5です", "-5"),  # noqa: RUF001 - full-width
        ("x = -3", "-3"),
        ("x = −3", "-3"),  # noqa: RUF001 - the minus sign
        ("-$20", "-20"),
        ("10-5", "5"),
        ("(10)-5", "5"),
        ("about 10-15", "15"),
        (".5", "0.5"),
        ("It is -.5", "-0.5"),
        ("0.50", "0.5"),
        ("1, 2, 3", "3"),
        ("1,2", "2"),
        ("1,2345", "2345"),
        ("50%", "50"),
        ("3/4", "4"),
        ("5 apples and 7 pears: 12\n\n", "12"),
        ("007", "7"),
    ],
)
def test_with_a_decimal_point(answer: str, value: str) -> None:
    assert find_last_number(answer) == Decimal(value)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1.234", "1234"),
        ("1.234,5", "1234.5"),
        ("3,5", "3.5"),
        ("3.5", "3.5"),
        ("18.", "18"),
        ("1.234.567 €", "1234567"),
        ("12 500 euros", "12500"),
        ("1.2345", "1.2345"),
        ("Schritt 3. Er zahlt 20 €.", "20"),
        ("-1.000", "-1000"),
        ("$2,125.00", "2125"),
        ("1,234,567.5", "1234567.5"),
    ],
)
def test_with_a_decimal_comma(answer: str, value: str) -> None:
    assert find_last_number(answer, "comma") == Decimal(value)


@pytest.mark.parametrize(
    ("answer", "value"),
    [("1,234", "234"), ("-5", "5"), ("3.50", "3.5"), ("x.5", "0.5"), ("1.", "1")],
)
def test_the_pattern_of_the_paper_is_kept_with_its_gaps(answer: str, value: str) -> None:
    assert find_last_number(answer, "paper") == Decimal(value)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("0123456789.,- x٣３．")))  # noqa: RUF001 - other digits
def test_the_pattern_of_the_paper_finds_what_its_program_finds(text: str) -> None:
    matches = re.findall(r"\d*\.?\d+", text)
    found = find_last_number(text, "paper")
    assert (None if found is None else float(found)) == (float(matches[-1]) if matches else None)


@pytest.mark.parametrize("notation", ["point", "comma", "paper"])
def test_texts_without_digits_have_no_number(notation: Notation) -> None:
    for answer in ("", "no idea", "…", "五", "-", "$"):
        assert find_last_number(answer, notation) is None


@pytest.mark.parametrize("language", ["ja", "en", "zh", "th", "sw", "bn", "te"])
def test_these_languages_of_mgsm_have_a_decimal_point(language: str) -> None:
    assert notation_of(language) == "point"


@pytest.mark.parametrize("language", ["de", "fr", "es", "ru"])
def test_these_languages_of_mgsm_have_a_decimal_comma(language: str) -> None:
    assert notation_of(language) == "comma"
