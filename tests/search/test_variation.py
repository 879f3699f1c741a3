"""How points change at random, and where an archive begins."""

import numpy as np
import pytest

from evomerge.search.variation import draw_near_start, first_points, mutate
from evomerge.space import Gene, SearchSpace


def test_nothing_changes_without_sigma(switches: SearchSpace) -> None:
    point = switches.start()
    assert mutate(switches, point, 0.0, np.random.default_rng(0)) is point


def test_a_quarter_of_numbers_and_one_choice_change_on_average(switches: SearchSpace) -> None:
    rng, point = np.random.default_rng(0), switches.start()
    changed = np.mean([mutate(switches, point, 0.1, rng) != point for _ in range(2000)], axis=0)
    assert 0.22 < changed[~switches.choosing].mean() < 0.28
    assert 0.02 < changed[switches.choosing].mean() < 0.06  # drawn anew, often the same again


def test_mutants_stay_in_the_cube() -> None:
    space, rng = SearchSpace([Gene("a"), Gene("b")]), np.random.default_rng(0)
    drawn = np.array([mutate(space, np.array([0.0, 1.0]), 9.0, rng) for _ in range(50)])
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    assert len(np.unique(drawn)) > 2


def test_an_archive_begins_with_what_is_known_else_with_the_start_and_draws() -> None:
    genes = [Gene("a", start=0.2), Gene("b")]
    rng = np.random.default_rng(0)
    known = {"one": np.array([0.0, 1.0]), "other": np.array([1.0, 0.0])}
    found = first_points(SearchSpace(genes, known=known), 9, rng)
    assert [how for how, _ in found] == ["known", "known"]
    found = first_points(SearchSpace(genes, known={"one": known["one"]}), 4, rng)
    assert [how for how, _ in found] == ["known", "", "", ""]
    assert found[1][1].tolist() == [0.2, 0.5]


def test_draws_near_the_start_keep_to_its_numbers_and_to_the_chances_of_choices() -> None:
    genes = [Gene("x", start=0.25), Gene("on", choices=(False, True), chances=(0.9, 0.1))]
    space, rng = SearchSpace(genes), np.random.default_rng(0)
    drawn = np.array([draw_near_start(space, 0.01, rng) for _ in range(200)])
    assert drawn[:, 0].mean() == pytest.approx(0.25, abs=0.005)
    assert drawn[:, 0].std() == pytest.approx(0.01, rel=0.2)
    assert 5 <= (drawn[:, 1] == 0.75).sum() <= 40
