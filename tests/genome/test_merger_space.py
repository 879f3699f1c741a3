import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evomerge.genome.merger_space import DEEPEST, MOST_MERGES, POINTER, MergerSpace
from evomerge.space import Choice, Gene

Genome = NDArray[np.float64]
GENES = [Gene("x"), Gene("long", choices=(False, True), start=False), Gene("y", needs="long")]


def make_space() -> MergerSpace:
    """Return a space in which only points of like length can be merged."""
    space: MergerSpace

    def shape(point: Genome) -> bool:
        return bool(space.decode(point)["long"])

    space = MergerSpace(GENES, applies=lambda _gene, _values: True, shape=shape, known={})
    return space


def point(space: MergerSpace, x: float, *, long: bool = False) -> Genome:
    values = space.decode(space.start())
    return space.settle(space.encode({**values, "x": x, "long": long}))


def test_a_merger_is_the_mean_of_its_parents() -> None:
    space = make_space()
    parents = [point(space, x) for x in (0.1, 0.2, 0.6)]
    child = space.blend(parents, np.random.default_rng(0))
    shares = space.divide(child)
    assert [share for _, share in shares] == pytest.approx([1 / 3] * 3)
    assert all(
        np.array_equal(part, parent) for (part, _), parent in zip(shares, parents, strict=True)
    )
    assert space.decode(child)["x"] == pytest.approx(0.3)


def test_a_mergers_own_genes_say_who_counts_how_much() -> None:
    space = make_space()
    child = space.blend([point(space, 0.1), point(space, 0.9)], np.random.default_rng(0))
    values = space.decode(child)
    changed = space.settle(space.encode({**values, "merger share 0": 1.0, "merger share 1": 0.25}))
    assert [share for _, share in space.divide(changed)] == pytest.approx([0.8, 0.2])
    effective = [g.name for g, on in zip(space.genes, space.effective(child), strict=True) if on]
    assert effective == [POINTER, "merger share 0", "merger share 1"]


def test_without_its_pointer_a_merger_is_its_parents_crossed() -> None:
    space = make_space()
    child = space.blend([point(space, 0.1), point(space, 0.9)], np.random.default_rng(0))
    values = space.decode(child)
    lone = space.settle(space.encode({**values, POINTER: 31.5}))
    assert [share for _, share in space.divide(lone)] == [1.0]
    assert space.decode(lone)["x"] == 0.5
    assert space.decode(lone)[POINTER] == 0.0


def test_points_of_unlike_shape_are_crossed() -> None:
    space = make_space()
    child = space.blend([point(space, 0.1), point(space, 0.9, long=True)], np.random.default_rng(0))
    assert space.decode(child)[POINTER] == 0.0
    assert space.decode(child)["x"] == 0.5


def test_mergers_of_mergers_are_one_mean_and_end_at_some_depth() -> None:
    space, rng = make_space(), np.random.default_rng(0)
    child = point(space, 0.0)
    for level in range(1, DEEPEST + 1):
        child = space.blend([child, point(space, level / 20)], rng)
        assert len(space.divide(child)) == level + 1
        assert sum(share for _, share in space.divide(child)) == pytest.approx(1.0)
    crossed = space.blend([child, point(space, 0.99)], rng)
    assert space.decode(crossed)[POINTER] == 0.0


def test_a_deep_merger_costs_no_more_than_a_flat_one() -> None:
    decoded = list[Genome]()

    class Counted(MergerSpace):
        def decode(self, genome: Genome) -> dict[str, Choice]:
            decoded.append(genome)
            return super().decode(genome)

    space = Counted(GENES, applies=lambda _gene, _values: True, shape=lambda _: 0, known={})
    rng, costs = np.random.default_rng(0), list[int]()
    parents = [point(space, x) for x in (0.1, 0.5, 0.9)]
    for level in range(1, DEEPEST + 1):
        decoded.clear()
        child = space.blend(parents, rng)
        assert space._blends[-1].level == level
        assert [share for _, share in space.divide(child)] == pytest.approx([1 / 3] * 3)
        costs.append(len(decoded))
        parents = [child] * 3
    assert costs[-1] == costs[0]


def test_a_merger_averages_only_so_many_merges() -> None:
    space, rng = make_space(), np.random.default_rng(0)
    many = [point(space, x) for x in np.linspace(0.0, 1.0, MOST_MERGES + 1)]
    assert space.decode(space.blend(many, rng))[POINTER] == 0.0
    assert len(space.divide(space.blend(many[1:], rng))) == MOST_MERGES


def test_equal_parents_are_not_merged() -> None:
    space = make_space()
    same = point(space, 0.4)
    assert np.array_equal(space.blend([same, same], np.random.default_rng(0)), same)


@given(st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=2, max_size=4))
@settings(deadline=None, max_examples=50)
def test_whatever_is_blended_is_a_settled_point_whose_shares_sum_to_one(
    drawn: list[list[float]],
) -> None:
    space = make_space()
    child = space.blend([np.array(values) for values in drawn], np.random.default_rng(1))
    assert np.array_equal(space.settle(child), child)
    assert sum(share for _, share in space.divide(child)) == pytest.approx(1.0)


def test_equal_blends_in_equal_order_are_equal_genomes() -> None:
    first, second = make_space(), make_space()
    for space in (first, second):
        points = [point(space, x) for x in (0.1, 0.5, 0.9)]
        space.known["last"] = space.blend(
            [space.blend(points, np.random.default_rng(0)), points[0]], np.random.default_rng(1)
        )
    assert np.array_equal(first.known["last"], second.known["last"])
