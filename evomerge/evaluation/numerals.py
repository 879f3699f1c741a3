"""Numbers as answers write them: groups of digits, decimals, signs, digits of every script.

What `1,234` or `1.234` means depends on the language. With a decimal *point* (English, Japanese,
Chinese …) commas group digits; with a decimal *comma* (German, French, Spanish …) points and
blanks do. Full-width forms count as their plain ones.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

Notation = Literal["point", "comma", "paper"]

DECIMAL_COMMA = frozenset(
    (
        *("bg", "ca", "cs", "da", "de", "el", "es", "et", "eu", "fi", "fr", "gl", "hr", "hu"),
        *("id", "is", "it", "lt", "lv", "nb", "nl", "nn", "no", "pl", "pt", "ro", "ru", "sk"),
        *("sl", "sr", "sv", "tr", "uk", "vi"),
    )
)
"""Languages that write 1234.5 as 1.234,5 or 1 234,5."""

PLAIN = str.maketrans("，．－−￥", ",.--¥")  # noqa: RUF001 - the look-alikes are what it is about
SIGN = r"(?<![\dA-Za-z)])-[$€£¥₹฿]?"
"""A minus right before the number; one between numbers or after a bracket subtracts."""

PATTERNS: dict[Notation, re.Pattern[str]] = {
    "point": re.compile(
        rf"(?P<sign>{SIGN})?(?P<number>\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?!\d)(?:\.\d+)?"
        r"|\d+(?:\.\d+)?|(?<![\w.,])\.\d+)"
    ),
    "comma": re.compile(
        rf"(?P<sign>{SIGN})?(?:(?P<english>\d{{1,3}}(?:,\d{{3}})+\.\d+)"
        r"|(?P<grouped>\d{1,3}(?P<blank>[. \u00a0\u202f])\d{3}(?:(?P=blank)\d{3})*(?!\d)(?:,\d+)?)"
        r"|(?P<number>\d+(?:[.,]\d+)?))"
    ),
    "paper": re.compile(r"(?P<number>\d*\.?\d+)"),
}
"""`paper` is the pattern of Akiba et al.'s own program: no sign, and 234 out of 1,234."""


def notation_of(language: str) -> Notation:
    """Return how a language (ISO 639 code) writes decimals."""
    return "comma" if language in DECIMAL_COMMA else "point"


def find_last_number(text: str, notation: Notation = "point") -> Decimal | None:
    """Return the last number of a text; None where there is none.

    With a decimal comma, `3.5` and `1,234.50` are read as in English all the same: they can mean
    nothing else.

    Args:
        text: an answer, or a stated result.
        notation: how decimals are written.
    """
    plain = text if notation == "paper" else text.translate(PLAIN)
    matches = list(PATTERNS[notation].finditer(plain))
    if not matches:
        return None
    groups = matches[-1].groupdict()
    value = Decimal(_spell(groups, notation))
    return -value if groups.get("sign") else value


def _spell(groups: Mapping[str, str | None], notation: Notation) -> str:
    """Write what matched as Decimal reads it."""
    if english := groups.get("english"):
        return english.replace(",", "")
    if grouped := groups.get("grouped"):
        return grouped.replace(groups["blank"] or "", "").replace(",", ".")
    return (groups["number"] or "").replace(",", "." if notation == "comma" else "")
