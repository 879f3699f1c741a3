"""Lines of the two alphabets, against the same rules written for texts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.zoo.alphabets.lines import (
    EASY,
    FIRST,
    RULES,
    SKILL,
    TARGETS,
    VOCABULARY,
    Alphabet,
    Kind,
    draw_letters,
    is_held_out,
    spell,
    translate,
    within,
    write_lines,
)

SMALL = "abcdefghijklmnop"
ALPHABETS: tuple[Alphabet, ...] = ("small", "capital")
WORDS = st.text(SMALL, min_size=5, max_size=5)
NEXT = str.maketrans(SMALL, SMALL[1:] + SMALL[0])


def rewrite(task: str, word: str) -> str:
    word = word[::-1] if "reverse" in task else word
    word = "".join(sorted(word)) if "sort" in task else word
    return word.translate(NEXT) if "next" in task or task == "successor" else word


def write(kind: Kind, word: str) -> str:
    letters = torch.tensor([[SMALL.index(letter) for letter in word]])
    [line] = write_lines(kind, letters).tolist()
    assert len(line) == 14
    assert line[0] == VOCABULARY["<s>"]
    assert line[-1] == VOCABULARY["</s>"]
    return spell(line)


@settings(deadline=None, max_examples=30)
@given(WORDS)
def test_every_task_keeps_to_its_rule_in_both_languages(word: str) -> None:
    for task in (*EASY, *SKILL):
        small = write(within(task, "small"), word)
        assert small[1:] == f"{word}={rewrite(task, word)}"
        assert write(within(task, "capital"), word) == small.upper()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (within("reverse", "small"), "rabcde=edcba"),
        (within("sort_next", "capital"), "YPBACD=BCDEA"),
        (within("reverse_next", "capital"), "XABCDP=AEDCB"),
        (translate("small"), "tabcde=ABCDE"),
        (translate("capital"), "TABCDE=abcde"),
        (Kind("sort_next", "small", "capital", "small"), "yCABDE=bcdef"),
    ],
)
def test_lines_say_in_which_language_they_ask_read_and_answer(kind: Kind, line: str) -> None:
    question = line.partition("=")[0][1:]
    assert write(kind, question.lower()) == line


def test_tags_are_no_letters_of_the_words_and_differ() -> None:
    tags = [within(task, alphabet).tag for task in RULES for alphabet in ALPHABETS]
    assert len(set(tags)) == len(tags)
    assert not set(tags) & set(SMALL + SMALL.upper())


def test_the_vocabulary_is_both_alphabets_and_five_tokens_more() -> None:
    assert len(VOCABULARY) == 57
    assert {"small": VOCABULARY["a"], "capital": VOCABULARY["A"]} == FIRST
    assert {kind.tag for kind in TARGETS} == {"X", "Y"}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 15), min_size=5, max_size=5))
def test_the_held_out_tenth_follows_its_hash(letters: list[int]) -> None:
    a, b, c, d, e = letters
    expected = (3 * a + 5 * b + 7 * c + 11 * d + 13 * e) % 10 == 0
    assert is_held_out(torch.tensor([letters])).tolist() == [expected]


def test_letters_are_drawn_from_the_wanted_side_and_uniformly() -> None:
    for held_out in (True, False):
        drawn = draw_letters(4000, torch.Generator().manual_seed(3), held_out=held_out)
        assert drawn.shape == (4000, 5)
        assert (is_held_out(drawn) == held_out).all()
        counts = torch.bincount(drawn.flatten(), minlength=16)
        assert counts.min() > 1000  # 1250 expected
        assert counts.max() < 1500


def test_drawing_is_a_function_of_the_generator() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (
        draw_letters(50, torch.Generator().manual_seed(seed), held_out=True) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
