"""Whole numbers that are sought: each is a choice; too many, or too few, are told."""

import pytest

from evomerge.genome.sought import check_ranges, find_sought
from evomerge.methods import METHODS
from evomerge.recipe.schedule import is_number

SVD = METHODS.get("svd_task_arithmetic")


def test_every_seed_is_a_choice_of_its_own() -> None:
    [weight, rate, seed] = find_sought(SVD, {}, {})
    assert (weight.name, rate.name, seed.name) == ("weight", "rate", "svd_seed")
    assert not rate.choices
    assert seed.choices == tuple(range(64))
    assert all(map(is_number, seed.choices))


def test_range_of_seeds_may_be_narrower() -> None:
    *_, seed = find_sought(SVD, {"svd_seed": [2.5, 7.0]}, {"rate": 0.1})
    assert seed.choices == (3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([0.2, 0.8], "expected 2 to 1024 whole numbers from low to high, not 0"),
        ([0.0, 1e9], "expected 2 to 1024 whole numbers from low to high, not 1000000001"),
        ([3.0, 3.0], "low must be < high"),
        ([-5.0, 5.0], "svd_seed must stay in"),
    ],
)
def test_range_without_room_or_end_is_told(ends: list[float], told: str) -> None:
    [problem] = check_ranges(SVD, {"svd_seed": ends}, {})
    assert problem.path == "genome.ranges.svd_seed"
    assert problem.message.startswith(told)
