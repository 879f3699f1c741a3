"""YAML as people expect it, and documents made to hurt."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import InvalidDocument
from evomerge.recipe import read_yaml, write_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("+2", 2),
        ("010", 10),
        ("007", 7),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("Y", "Y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-.inf", float("-inf")),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("nan", "nan"),
        ("v1.0", "v1.0"),
        ("1.0.0", "1.0.0"),
        ("e5", "e5"),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    (found,) = read_yaml(f"- {text}", "f.yml")
    assert (type(found), found) == (type(value), value)


def test_merge_keys_and_anchors_work() -> None:
    text = "a: &a {weight: 1, density: 2}\nb: {<<: *a, weight: 3}\n"
    assert read_yaml(text, "f.yml")["b"] == {"weight": 3, "density": 2}


def test_an_overridden_merge_key_is_not_taken_for_a_duplicate() -> None:
    text = "b: &b {k: 2}\nx: {y: {z: &a {<<: *b, k: 1}}}\nc: {<<: *a, d: 4}\n"
    assert read_yaml(text, "f.yml")["c"] == {"k": 1, "d": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", r"line 4, column 3: the key 'c' stands twice"),
        ("a: 1\na: 2", r"line 2, column 1: the key 'a' stands twice"),
        ("- {x: &x {k: 1, k: 1}}", r"line 1, column 17: the key 'k' stands twice"),
        ("a:\n\t- b", r"line 2, column 1: found character '\\t'"),
        ("a: 'x", r"line 1, column 6: found unexpected end of stream"),
        ("a: b: c", r"line 1, column 5: mapping values are not allowed here"),
        ("--- a\n--- b", r"2 documents where one is expected"),
        ("a: *nope", r"line 1, column 4: found undefined alias 'nope'"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: !!bool maybe", "not YAML: 'maybe'"),
        ("a: !!int maybe", "line 1, column 4: not a number that fits anything"),
        ("a: !!float maybe", "not YAML: could not convert string to float"),
        ("a: !!timestamp never", "not YAML: "),
        ("? [1]\n: 2", "found unhashable key"),
        ("a: &a [*a]", "unfolds to more than 200000 values"),
        ("a: " + "9" * 5000, "line 1, column 4: not a number that fits anything"),
        ("a\0b", "not YAML: unacceptable character #x0000"),
        ("\x1b[2J", "not YAML: unacceptable character #x001b"),
        (BOMB, "unfolds to more than 200000 values"),
        ("- " * 3000, "nested too deeply"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_not_a_document_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message) as caught:
        read_yaml(text, "f.yml")
    head, problem = str(caught.value).split("\n")
    assert head == "f.yml: 1 problem in this document"
    assert len(problem) < 200


def test_a_bomb_does_not_go_off() -> None:
    start = time.monotonic()
    with pytest.raises(InvalidDocument, match="unfolds"):
        read_yaml(BOMB, "f.yml")
    assert time.monotonic() - start < 1.0


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab:[]{},-&*!?|>'\"#%@` \n\t01.<", max_size=40))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    assert len(complain(text)) <= 1


def complain(text: str) -> list[str]:
    try:
        read_yaml(text, "f.yml")
    except InvalidDocument as error:
        return str(error).split("\n")[1:]
    return []


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
TRAPS = ["1e5", "1e-3", "010", "5", "-.5", "1.", ".inf", "nan", "no", "null", "a: b", " x", "*"]
MORE_TRAPS = [
    "<<",
    "{{ x }}\n  {% y %} \n\n",
    "2024-01-01",
    "1:30",
    "1_0",
    "é#",
    "true",
    "''",
    "!x",
]
STRINGS = TEXTS | st.sampled_from(TRAPS) | st.sampled_from(MORE_TRAPS)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | STRINGS
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=80)
@given(PLAIN)
def test_what_is_written_reads_back(document: Any) -> None:
    written = write_yaml(document)
    assert read_yaml(written, "f.yml") == document


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\n", "\r", "\ufeff", "\x00", "\t"])
def test_odd_characters_read_back_as_keys_and_as_values(mark: str) -> None:
    document = {f"{mark}T": f"a{mark}b", "list": [mark, f"{mark}{mark} "]}
    assert read_yaml(write_yaml(document), "f.yml") == document
