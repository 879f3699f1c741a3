"""Lengths and angles from inner products against the vectors themselves."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.inner_products import cosines, dot, length_of, lengths, project

VECTORS = st.lists(
    st.lists(st.floats(-10, 10), min_size=4, max_size=4), min_size=1, max_size=4
).map(np.array)


@settings(deadline=None, max_examples=100)
@given(vectors=VECTORS, seed=st.integers(0, 99))
def test_combinations_have_the_lengths_and_products_of_their_vectors(
    vectors: np.ndarray, seed: int
) -> None:
    factors = np.random.default_rng(seed).uniform(-2, 2, len(vectors))
    products = (vectors @ vectors.T).tolist()
    combined = factors @ vectors
    room = 1e-7 * (1 + np.abs(vectors).max())
    np.testing.assert_allclose(lengths(products), np.linalg.norm(vectors, axis=1), atol=room)
    np.testing.assert_allclose(
        length_of(factors, products), np.linalg.norm(combined), atol=3 * room
    )
    np.testing.assert_allclose(project(factors, products), vectors @ combined, atol=1e-9)


def test_cosines_know_the_zero_vector_and_themselves() -> None:
    assert cosines([[4.0, 0.0, -6.0], [0.0, 0.0, 0.0], [-6.0, 0.0, 9.0]]) == [
        [1.0, 0.0, -1.0],
        [0.0, 0.0, 0.0],
        [-1.0, 0.0, 1.0],
    ]


def test_cosines_stay_within_one() -> None:
    assert cosines([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]])[0][1] == 1.0


def test_dot_rounds_once() -> None:
    assert dot([1e16, 1.0, -1e16], [1.0, 1.0, 1.0]) == 1.0
