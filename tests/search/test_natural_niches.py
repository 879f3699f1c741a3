"""M2N2: who is fit, who attracts whom, how children are blended, who leaves the archive."""

import math

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search.natural_niches import NaturalNiches
from evomerge.search.sphere import Sphere, slerp
from evomerge.space import Gene, SearchSpace

GENES = [Gene(f"{k}", -0.5, 1.5) for k in range(6)]
ALONE = {
    name: SearchSpace(GENES).encode(dict(zip("012345", values, strict=True)))
    for name, values in {"a": [1, 0, 1, 0, 1, 0], "b": [0, 1, 0, 1, 0, 1]}.items()
}
LAYERS = np.kron(np.eye(3), [[4.0, 1.0], [1.0, 9.0]])
ANCESTRY = SearchSpace(GENES, known=ALONE, metric=LAYERS)
PLAIN = SearchSpace(GENES)


def tell(searcher: NaturalNiches, rows: list[list[float]], **more: list[float]) -> None:
    """Tell the scores of a batch of as many as there are rows."""
    points = searcher.ask(len(rows))
    results = [
        Evaluated(
            point,
            (0.5,),
            {f"item {j}": score for j, score in enumerate(row)},
            **{key: values[k] for key, values in more.items()},  # type: ignore[arg-type]  # numbers
        )
        for k, (point, row) in enumerate(zip(points, rows, strict=True))
    ]
    searcher.tell(results)


def kept(searcher: NaturalNiches) -> list[int]:
    return sorted(place for place, _ in searcher.elites())


def test_founders_come_first_and_children_name_their_parents() -> None:
    searcher = NaturalNiches(ANCESTRY, seed=1, batch=4)
    points = searcher.ask()
    assert [point.tolist() for point in points[:2]] == [p.tolist() for p in ALONE.values()]
    assert [(o.how, sorted(o.parents)) for o in searcher.origins] == [
        *[("known", [])] * 2,
        *[("merger", [0, 1])] * 2,
    ]


def test_an_item_that_many_solve_is_worth_little_to_each() -> None:
    """Three generalists share three items; the specialist has its own and is the fittest."""
    searcher = NaturalNiches(PLAIN, seed=1, archive=4)
    tell(searcher, [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
    assert searcher._shares().sum(axis=1).tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])
    plain = NaturalNiches(PLAIN, seed=1, archive=4, alpha=0.0)
    tell(plain, [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
    assert plain._shares().sum(axis=1).tolist() == [3.0, 3.0, 3.0, 1.0]


def test_least_fit_leaves_be_it_the_newcomer() -> None:
    searcher = NaturalNiches(PLAIN, seed=1, archive=2)
    tell(searcher, [[1, 1, 0, 0], [1, 1, 0, 0]])
    tell(searcher, [[0, 0, 1, 1]])  # nobody else has these two
    assert 2 in kept(searcher)
    assert len(kept(searcher)) == 2
    tell(searcher, [[0, 0, 0, 0]])
    assert 3 not in kept(searcher)


def test_who_misses_bounds_leaves_first() -> None:
    searcher = NaturalNiches(PLAIN, seed=1, archive=2)
    tell(searcher, [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]], violation=[0.1, 0.0, 0.0])
    assert kept(searcher) == [1, 2]


def test_partner_is_strong_where_the_first_parent_is_weak() -> None:
    searcher = NaturalNiches(PLAIN, seed=3, archive=3, batch=40)
    tell(searcher, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
    searcher.ask()
    pairs = [origin.parents for origin in searcher.origins[20:]]
    assert pairs
    assert all(2 in pair for pair in pairs)  # the others have nothing to give to each other


def test_items_count_as_much_as_their_tasks_weigh() -> None:
    searcher = NaturalNiches(PLAIN, seed=1, archive=2)
    weights = {"item 0": 0.25, "item 1": 0.25, "item 2": 1.0, "item 3": 0.0}
    rows = [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]  # the third solves what is only bounded
    tell(searcher, rows, item_weights=[weights] * 3)  # type: ignore[list-item,arg-type]  # no numbers
    assert searcher._shares().sum(axis=1).tolist() == [0.5, 1.0]
    assert searcher.elites() == [
        (1, "66.7% of the reward, alone best at 1 item"),
        (0, "33.3% of the reward, alone best at 2 items"),
    ]


def test_failed_and_dropped_candidates_enter_no_archive() -> None:
    searcher = NaturalNiches(PLAIN, seed=1)
    points = searcher.ask(3)
    told = [
        Evaluated(points[0], (math.nan,), failure="it failed"),
        Evaluated(points[1], (0.9,), raced_out=True),
        Evaluated(points[2], (0.1,)),
    ]
    searcher.tell(told)
    assert kept(searcher) == [2]


def test_scores_below_zero_and_infinite_ones_can_be_shared() -> None:
    searcher = NaturalNiches(PLAIN, seed=1)
    tell(searcher, [[-3.0, 1.0], [-1.0, math.nan], [-math.inf, 3.0]])
    shares = searcher._shares()
    assert np.isfinite(shares).all()
    assert shares[1].tolist() == pytest.approx([1.0, 0.2])
    assert shares.sum(axis=0).tolist() == pytest.approx([1.0, 1.0])


def test_child_has_one_proportion_before_the_split_and_the_opposite_one_behind() -> None:
    searcher = NaturalNiches(ANCESTRY, seed=2)
    mother, father = ALONE.values()
    sphere = Sphere(ANCESTRY)
    angle = sphere.angle(sphere.values(mother), sphere.values(father))
    for _ in range(20):
        layers = sphere.values(searcher._cross(mother, father)).reshape(3, 2)
        kinds = {tuple(np.round(layer, 9)) for layer in layers}
        assert len(kinds) <= 2
        for a, b in kinds:
            share = math.asin(b * math.sin(angle)) / angle
            assert (a, b) == pytest.approx(slerp(share, angle))
        assert len(kinds) == 1 or tuple(reversed(min(kinds))) == pytest.approx(max(kinds))


def test_choices_cross_at_the_split_too() -> None:
    space = SearchSpace([Gene(f"{k}", choices=(False, True)) for k in range(8)])
    searcher = NaturalNiches(space, seed=2)
    mother, father = np.full(8, 0.25), np.full(8, 0.75)
    for _ in range(20):
        child = searcher._cross(mother, father)
        assert np.count_nonzero(np.diff(child)) <= 1
        assert set(child) <= {0.25, 0.75}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"archive": 1}, "an archive of at least 2 and a batch of 1"),
        ({"batch": 0}, "an archive of at least 2 and a batch of 1"),
        ({"alpha": -1.0}, r"alpha and sigma in \[0, 10\]"),
        ({"sigma": math.nan}, r"alpha and sigma in \[0, 10\]"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NaturalNiches(PLAIN, **options)  # type: ignore[arg-type]  # that is the fault
