"""Families of rows: every row in one, what they share is really shared, and sharing pays."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.inference.families import LEAST, Family, count_common, find_families

tokens = st.integers(0, 2)
stems = st.lists(st.lists(tokens, min_size=0, max_size=3 * LEAST).map(tuple), max_size=3)
tails = st.lists(tokens, min_size=1, max_size=6).map(tuple)


def saved(families: list[Family]) -> int:
    return sum((len(f.members) - 1) * f.depth - LEAST for f in families if f.depth)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_families_divide_the_rows_and_share_what_they_say(data: st.DataObject) -> None:
    beginnings = [(), *data.draw(stems)]
    pairs = st.tuples(st.sampled_from(beginnings), tails)
    rows = [stem + tail for stem, tail in data.draw(st.lists(pairs, max_size=12, unique=True))]
    alone, *families = found = find_families(rows)
    assert sorted(member for family in found for member in family.members) == list(range(len(rows)))
    assert alone.depth == 0
    assert saved(families) >= 0
    for depth, members in families:
        assert len(members) > 1
        assert depth >= LEAST
        assert len({rows[member][:depth] for member in members}) == 1
        assert all(len(rows[member]) > depth for member in members)


@settings(deadline=None, max_examples=60)
@given(stem=st.lists(tokens, max_size=80), a=tails, b=tails)
def test_the_common_beginning_is_counted_to_the_token(
    stem: list[int], a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    left, right = (*stem, *a), (*stem, *b)
    plain = 0
    while plain < min(len(left), len(right)) - 1 and left[plain] == right[plain]:
        plain += 1
    assert count_common(left, right) == (plain if plain >= LEAST else 0)


def test_few_shot_examples_are_shared_within_each_subject_not_across() -> None:
    head = tuple(range(40))
    subjects = [head + tuple(1000 * s + k for k in range(300)) for s in range(3)]
    rows = [subjects[n % 3] + (7, n) for n in range(30)]
    alone, *families = find_families(rows)
    assert alone.members == []
    assert [family.depth for family in families] == [341, 341, 341]
    assert [family.members for family in families] == [list(range(s, 30, 3)) for s in range(3)]


def test_a_shared_instruction_is_found_where_nothing_else_is_shared() -> None:
    source = random.Random(0)
    head = tuple(range(50))
    rows = [head + tuple(source.choices(range(100, 200), k=9)) for _ in range(20)]
    assert find_families(rows) == [Family(0, []), Family(50, list(range(20)))]


def test_rows_that_each_begin_with_the_one_before_are_one_family() -> None:
    rows = [tuple(range(n)) for n in range(100, 1500)]
    alone, *families = find_families(rows)
    assert not alone.members or saved(families) > 0
    assert saved(families) >= 99 * 1399 - LEAST


def test_what_begins_alike_for_a_few_tokens_only_stays_apart() -> None:
    rows = [(1, 2, 3, n) for n in range(5)]
    assert find_families(rows) == [Family(0, [0, 1, 2, 3, 4])]
    assert find_families([]) == [Family(0, [])]
