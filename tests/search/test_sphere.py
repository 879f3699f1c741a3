"""The sphere that a metric means: angles, blending, and where a merge may be split."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.search.sphere import Sphere, slerp
from evomerge.space import Gene, SearchSpace

GENES = [Gene(f"{k}", -0.5, 1.5) for k in range(6)]
LAYERS = np.kron(np.eye(3), [[4.0, 1.0], [1.0, 9.0]])
ANCESTRY, PLAIN = Sphere(SearchSpace(GENES, metric=LAYERS)), Sphere(SearchSpace(GENES))
unit = st.floats(0, 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_blending_keeps_to_the_sphere_that_the_metric_means(share: float) -> None:
    p, q = np.array([1.0, 0, 1, 0, 1, 0]), np.array([0.0, 1, 0, 1, 0, 1]) * 2 / 3
    a, b = slerp(share, ANCESTRY.angle(p, q))
    child = a * p + b * q
    assert p @ LAYERS @ p == pytest.approx(q @ LAYERS @ q)
    assert child @ LAYERS @ child == pytest.approx(p @ LAYERS @ p)


@settings(deadline=None, max_examples=50)
@given(unit, st.floats(0, math.pi))
def test_both_ends_are_the_vectors_themselves_and_turning_round_swaps_them(
    share: float, angle: float
) -> None:
    assert slerp(0.0, angle) == pytest.approx((1.0, 0.0))
    assert slerp(1.0, angle) == pytest.approx((0.0, 1.0))
    assert slerp(share, angle) == pytest.approx(slerp(1.0 - share, angle)[::-1], rel=1e-6)


def test_angle_is_that_of_the_vectors_and_none_where_there_is_no_length() -> None:
    one, other = np.eye(6)[:2]
    assert PLAIN.angle(one, other) == pytest.approx(math.pi / 2)
    assert ANCESTRY.angle(one, other) == pytest.approx(math.acos(1 / 6))
    assert PLAIN.angle(one, one) == pytest.approx(0.0, abs=1e-7)
    assert PLAIN.angle(one, -one) == pytest.approx(math.pi)
    assert PLAIN.angle(one, np.zeros(6)) == 0.0
    assert slerp(0.25, 1e-9) == (0.75, 0.25)


def test_values_are_in_the_genes_own_units_and_choices_count_as_nothing() -> None:
    space = SearchSpace([Gene("a", -1.0, 3.0), Gene("b", choices=(False, True))])
    sphere = Sphere(space)
    assert sphere.values(np.array([0.5, 0.75])).tolist() == [1.0, 0.0]
    assert sphere.places(np.array([9.0, 0.0])).tolist()[0] == 1.0


def test_a_layer_is_never_split_between_founders() -> None:
    assert ANCESTRY.cuts == [0, 2, 4, 6]
    assert PLAIN.cuts == list(range(7))
    nothing = LAYERS * np.outer([1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1])  # a layer nobody changed
    assert Sphere(SearchSpace(GENES, metric=nothing)).cuts == [0, 2, 3, 4, 6]
    tied = LAYERS.copy()
    tied[1, 4] = tied[4, 1] = 0.5  # as far as the third layer
    assert Sphere(SearchSpace(GENES, metric=tied)).cuts == [0, 6]
