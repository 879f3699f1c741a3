"""The unit cube and the genes' own units."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.space import Gene, SearchSpace

BOUNDS = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-9, 1e3)).map(lambda b: (b[0], b[0] + b[1]))
SPACES = st.lists(BOUNDS.filter(lambda b: b[0] < b[1]), min_size=1, max_size=5).map(
    lambda bounds: SearchSpace([Gene(f"gene {k}", *b) for k, b in enumerate(bounds)])
)
SWITCH = Gene("on", choices=(False, True))


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


def test_a_search_begins_in_the_middle_where_nothing_is_said() -> None:
    space = SearchSpace([Gene("a", -1, 1), Gene("b", 0, 10)])
    assert space.decode(space.start()) == {"a": 0.0, "b": 5.0}


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
        ([Gene("a", start=1.5)], "gene a cannot begin with 1.5"),
        ([Gene("a", start="x")], "gene a cannot begin with 'x'"),
        ([Gene("a", choices=("x", "y"), start="z")], "gene a cannot begin with 'z'"),
        ([Gene("a", chances=(0.5, 0.5))], "gene a needs a positive chance for every choice"),
        ([replace(SWITCH, chances=(0.5, 0.6))], "gene on needs a positive chance for every choice"),
        ([replace(SWITCH, chances=(0.0, 1.0))], "gene on needs a positive chance for every choice"),
        ([replace(SWITCH, chances=(1.0,))], "gene on needs a positive chance for every choice"),
        ([Gene("a", needs="on")], "gene a needs 'on', which is no earlier gene that can be off"),
        ([Gene("a", needs="on"), SWITCH], "gene a needs 'on', which is no earlier gene"),
        ([Gene("b"), Gene("a", needs="b")], "gene a needs 'b', which is no earlier gene"),
        ([Gene("b", choices=(1, "x")), Gene("a", needs="b")], "gene a needs 'b', which is no"),
        ([replace(SWITCH, needs="on")], "gene on needs 'on', which is no earlier gene"),
    ],
)
def test_an_impossible_space_is_refused(genes: list[Gene], message: str) -> None:
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


def test_a_search_begins_where_the_genes_say() -> None:
    genes = [
        Gene("a", -1, 1),
        Gene("b", 0, 10, start=2.0),
        Gene("c", choices=("x", "y", "z"), start="z", chances=(0.8, 0.1, 0.1)),
        Gene("d", choices=("x", "y", "z"), chances=(0.2, 0.7, 0.1)),
        Gene("e", choices=("x", "y", "z")),
    ]
    assert np.allclose(SearchSpace(genes).start(), [0.5, 0.2, 5 / 6, 0.5, 0.5])
    assert genes[3].odds == (0.2, 0.7, 0.1)
    assert genes[4].odds == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert genes[0].odds == ()


@settings(deadline=None, max_examples=100)
@given(weights=st.lists(st.integers(1, 50), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_uniform_shares_draw_choices_by_their_chances(weights: list[int], seed: int) -> None:
    chances = tuple(weight / sum(weights) for weight in weights)
    gene = Gene("a", choices=tuple(map(str, range(len(weights)))), chances=chances)
    shares = (np.arange(1000) + np.random.default_rng(seed).random()) / 1000
    found = [gene.value(gene.quantile(share)) for share in shares]
    for choice, chance in zip(gene.choices, chances, strict=True):
        assert abs(found.count(choice) / 1000 - chance) <= 0.002
    assert gene.value(gene.quantile(1.0)) == gene.choices[-1]


def test_uniform_shares_are_places_of_numbers() -> None:
    space = SearchSpace([Gene("a", -1, 1), Gene("b", choices=("x", "y"))])
    assert space.quantile(np.array([0.37, 0.6])).tolist() == [0.37, 0.75]


@st.composite
def switched_spaces(draw: st.DrawFn) -> SearchSpace:
    """Numbers and choices, any of which may need an earlier gene with choices."""
    genes: list[Gene] = []
    for k in range(draw(st.integers(1, 8))):
        needs = draw(st.sampled_from([None, *(g.name for g in genes if g.choices)]))
        if draw(st.booleans()):
            choices = draw(st.permutations([False, "x", "y"]))
            genes.append(Gene(f"{k}", choices=tuple(choices), start="x", needs=needs))
        else:
            genes.append(Gene(f"{k}", -0.3, 2.0, start=0.123456, needs=needs))
    return SearchSpace(genes)


@settings(deadline=None, max_examples=200)
@given(space=switched_spaces(), seed=st.integers(0, 999))
def test_points_that_decode_alike_settle_at_one_point(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    point = rng.random(len(space))
    settled = space.settle(point)
    values, kept = space.decode(point), space.decode(settled)
    effective = space.effective(point)
    for gene, counts in zip(space.genes, effective, strict=True):
        assert kept[gene.name] == (values[gene.name] if counts else gene.start)
        needed = values[gene.needs] if gene.needs else True
        assert counts <= bool(needed)
    assert np.array_equal(space.settle(settled), settled)
    assert np.array_equal(space.effective(settled), effective)
    moved = np.where(effective, space.encode(values) + rng.uniform(-1e-9, 1e-9), rng.random())
    assert np.array_equal(space.settle(moved), settled)


def test_gene_without_effect_silences_those_that_need_it() -> None:
    kind = Gene("kind", choices=("", "x"), start="x", needs="on")
    space = SearchSpace([SWITCH, kind, Gene("size", start=0.25, needs="kind"), Gene("b")])
    off = np.array([0.1, 0.9, 0.8, 0.7])
    assert space.effective(off).tolist() == [True, False, False, True]
    assert space.settle(off).tolist() == [0.25, 0.75, 0.25, 0.7]
    assert space.effective(np.array([0.9, 0.1, 0.8, 0.7])).tolist() == [True, True, False, True]
    assert space.effective(np.array([0.9, 0.9, 0.8, 0.7])).all()


def test_known_points_are_settled() -> None:
    space = SearchSpace([SWITCH, Gene("size", needs="on")], known={"off": np.array([0.1, 0.9])})
    assert np.array_equal(space.known["off"], [0.25, 0.5])


@settings(deadline=None, max_examples=50)
@given(points=st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=4))
def test_child_has_its_parents_mean_and_one_of_their_choices(points: list[list[float]]) -> None:
    space = SearchSpace([Gene("kind", choices=("x", "y", "z")), Gene("size")])
    parents = [space.settle(np.array(point)) for point in points]
    child = space.blend(parents, np.random.default_rng(3))
    assert child[0] in [parent[0] for parent in parents]
    assert child[1] == pytest.approx(np.mean([parent[1] for parent in parents]))
