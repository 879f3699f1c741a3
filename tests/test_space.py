"""The unit cube and the genes' own units."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.space import Gene, SearchSpace

BOUNDS = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-9, 1e3)).map(lambda b: (b[0], b[0] + b[1]))
SPACES = st.lists(BOUNDS.filter(lambda b: b[0] < b[1]), min_size=1, max_size=5).map(
    lambda bounds: SearchSpace([Gene(f"gene {k}", *b) for k, b in enumerate(bounds)])
)


@settings(deadline=None, max_examples=150)
@given(space=SPACES, seed=st.integers(0, 999))
def test_decoded_values_never_leave_their_range(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for point in (rng.random(len(space)), np.zeros(len(space)), np.ones(len(space))):
        values = space.decode(point)
        assert list(values) == [gene.name for gene in space.genes]
        assert all(gene.low <= values[gene.name] <= gene.high for gene in space.genes)


@settings(deadline=None, max_examples=80)
@given(space=SPACES, seed=st.integers(0, 999))
def test_decoding_undoes_encoding(space: SearchSpace, seed: int) -> None:
    values = space.decode(np.random.default_rng(seed).random(len(space)))
    again = space.decode(space.encode(values))
    assert all(abs(again[name] - values[name]) <= 2e-6 for name in values)


def test_a_range_finer_than_the_rounding_is_still_a_range() -> None:
    space = SearchSpace([Gene("density", 1e-7, 3e-7)])
    assert 1e-7 <= space.decode(np.array([0.5]))["density"] <= 3e-7


def test_points_outside_the_cube_are_brought_back() -> None:
    space = SearchSpace([Gene("a", -1, 1), Gene("b", 0, 10)])
    assert space.decode(np.array([-5.0, 7.0])) == {"a": -1.0, "b": 10.0}
    assert space.encode({"a": 99, "b": -99}).tolist() == [1.0, 0.0]


def test_the_middle_is_the_middle() -> None:
    space = SearchSpace([Gene("a", -1, 1), Gene("b", 0, 10)])
    assert space.decode(space.middle()) == {"a": 0.0, "b": 5.0}


def test_values_are_rounded_so_that_a_recipe_reads_well() -> None:
    assert SearchSpace([Gene("a", 0, 1)]).decode(np.array([math.pi / 4])) == {"a": 0.785398}


def test_a_genome_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"genome has shape \(3,\), the space has 1 genes"):
        SearchSpace([Gene("a", 0, 1)]).decode(np.zeros(3))


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ([], "at least one gene"),
        ([Gene("a", 1, 1)], "each with low < high"),
        ([Gene("a", math.nan, 1)], "each with low < high"),
        ([Gene("a", 0, 1), Gene("a", 0, 2)], "gene names must be distinct"),
        ([Gene("a", choices=("x",))], "or several choices"),
        ([Gene("a", choices=("x", "x"))], "or several choices"),
    ],
)
def test_a_space_without_room_is_refused(genes: list[Gene], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSpace(genes)


def test_a_space_describes_itself() -> None:
    rows = SearchSpace([Gene("a", 0, 1)]).describe()
    assert rows == [{"name": "a", "low": 0, "high": 1}]
    rows = SearchSpace([Gene("flag", choices=(True, False))]).describe()
    assert rows == [{"name": "flag", "choices": [True, False]}]


CHOICES = st.lists(st.text(max_size=3), min_size=2, max_size=7, unique=True).map(tuple)


@settings(deadline=None, max_examples=100)
@given(choices=CHOICES, place=st.floats(0, 1))
def test_choices_share_the_cube_in_equal_parts(choices: tuple[str, ...], place: float) -> None:
    space = SearchSpace([Gene("a", choices=choices)])
    (found,) = space.decode(np.array([place])).values()
    part = choices.index(str(found))
    assert part / len(choices) <= place + 1e-12
    assert place - 1e-12 <= (part + 1) / len(choices)
    assert space.decode(space.encode({"a": found})) == {"a": found}
    ends = [space.decode(np.array([end]))["a"] for end in (0.0, 1.0)]
    assert ends == [choices[0], choices[-1]]


def test_a_value_that_is_no_choice_has_no_place() -> None:
    space = SearchSpace([Gene("a", choices=("x", "y"))])
    with pytest.raises(ValueError, match="gene a has no choice 'z'"):
        space.encode({"a": "z"})


def test_numbers_and_choices_stand_side_by_side() -> None:
    space = SearchSpace([Gene("a", 0, 2), Gene("b", choices=(False, True)), Gene("c", -1, 1)])
    assert space.decode(np.array([0.25, 0.7, 0.5])) == {"a": 0.5, "b": True, "c": 0.0}
    assert space.encode({"a": 0.5, "b": True, "c": 0.0}).tolist() == [0.25, 0.75, 0.5]
