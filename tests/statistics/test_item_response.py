"""Item response theory finds what the answers were drawn from, and never overrules all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evomerge.statistics import ItemResponse, estimate_means, fit_item_response

Array = NDArray[np.float64]
GROUPS = np.array([0, 1] * 6)
ANSWERS = arrays(np.float64, (4, 12), elements=st.sampled_from([0.0, 0.25, 1.0]))
HOLES = arrays(np.float64, (4, 12), elements=st.sampled_from([0.0, 1.0, np.nan]))
PARTS = st.lists(st.integers(0, 11), max_size=12, unique=True)


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def draw(rng: np.random.Generator, models: int, items: int) -> tuple[Array, Array, ItemResponse]:
    """Answers, abilities, and the items they were drawn from; two groups."""
    theta, groups = rng.normal(0, 1.5, (models, 2)), np.arange(items) % 2
    truth = ItemResponse(rng.uniform(0.7, 1.6, items), rng.normal(0, 1, items), groups, theta)
    chance = np.array([truth.probabilities(ability) for ability in theta])
    return (rng.random((models, items)) < chance).astype(float), theta, truth


@pytest.mark.parametrize("discriminate", [False, True])
def test_finds_abilities_and_difficulties_again(discriminate: bool) -> None:
    answers, theta, truth = draw(np.random.default_rng(0), 60, 240)
    found = fit_item_response(answers, truth.groups, discriminate=discriminate)
    for group in (0, 1):
        assert np.corrcoef(found.abilities[:, group], theta[:, group])[0, 1] > 0.95
    assert np.corrcoef(found.difficulty, truth.difficulty)[0, 1] > 0.85
    if discriminate:
        assert np.corrcoef(found.discrimination, truth.discrimination)[0, 1] > 0.4
    else:
        assert found.discrimination == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(HOLES, st.booleans())
def test_fit_stands_at_the_top_of_the_penalised_likelihood(
    answers: Array, discriminate: bool
) -> None:
    model = fit_item_response(answers, GROUPS, discriminate=discriminate)
    theta = model.abilities
    expected = logistic(model.discrimination * theta[:, GROUPS] - model.difficulty)
    error = np.where(np.isnan(answers), 0.0, answers - expected)
    pull = np.stack([(error * model.discrimination)[:, g == GROUPS].sum(axis=1) for g in (0, 1)])
    assert theta == pytest.approx(pull.T / 0.25, abs=1e-2)  # as strong as the prior's towards 0
    if discriminate:
        tilt = (error * theta[:, GROUPS]).sum(axis=0)
        assert tilt == pytest.approx(0.25 * (model.discrimination - 1), abs=3e-3)


@settings(deadline=None, max_examples=25)
@given(ANSWERS, PARTS, st.sampled_from([None, 2]))
def test_estimates_are_possible_scores_and_exact_where_all_is_met(
    answers: Array, met: list[int], parents: int | None
) -> None:
    model = fit_item_response(answers[:3], GROUPS)
    known = None if parents is None else model.abilities[:parents]
    y = answers[3]
    ability = model.ability(y[met], met, parents=known)
    found = estimate_means(model, y[met], met, ability)
    assert found.shape == (2,)
    assert ((found >= 0) & (found <= 1)).all()
    everything = estimate_means(model, y, range(12), ability)
    assert everything == pytest.approx([y[g == GROUPS].mean() for g in (0, 1)])


@settings(deadline=None, max_examples=20)
@given(HOLES, st.permutations(range(12)), st.permutations(range(4)))
def test_names_and_order_do_not_matter(answers: Array, items: list[int], models: list[int]) -> None:
    plain = fit_item_response(answers, GROUPS)
    turned = fit_item_response(answers[models][:, items], GROUPS[items])
    assert turned.difficulty == pytest.approx(plain.difficulty[items], abs=3e-3)
    assert turned.abilities == pytest.approx(plain.abilities[models], abs=3e-3)


@settings(deadline=None, max_examples=20)
@given(ANSWERS)
def test_a_model_that_met_nothing_teaches_nothing(answers: Array) -> None:
    plain = fit_item_response(answers, GROUPS)
    more = fit_item_response(np.vstack([answers, np.full(12, np.nan)]), GROUPS)
    assert more.difficulty == pytest.approx(plain.difficulty, abs=1e-2)
    assert more.abilities[-1] == pytest.approx([0, 0], abs=1e-2)
    assert plain.ability([], []) == pytest.approx([0, 0])


@settings(deadline=None, max_examples=20)
@given(ANSWERS, PARTS.filter(lambda met: len(met) > 1))
def test_right_answers_raise_the_ability(answers: Array, met: list[int]) -> None:
    model = fit_item_response(answers, GROUPS, discriminate=False)
    ability = [model.ability(np.full(len(met), share), met) for share in (0.0, 0.4, 1.0)]
    assert all((low <= high + 1e-9).all() for low, high in pairwise(ability))


def test_a_mixture_of_parents_is_recognised() -> None:
    rng = np.random.default_rng(3)
    _, theta, truth = draw(rng, 40, 2000)
    chance = truth.probabilities(0.7 * theta[0] + 0.3 * theta[1])
    met = rng.permutation(2000)[:1000]
    ability = truth.ability(chance[met], met, parents=theta[:2])
    assert ability == pytest.approx(0.7 * theta[0] + 0.3 * theta[1], abs=0.15)
    # one that met nothing is half of each
    assert truth.ability([], [], parents=theta[:2]) == pytest.approx(theta[:2].mean(axis=0))


def test_a_model_much_like_another_is_looked_for_near_it() -> None:
    answers, _, truth = draw(np.random.default_rng(8), 3, 40)
    near = [1.5, -2.0]
    assert truth.ability([], [], around=near) == pytest.approx(near)
    few, many = range(2), range(40)
    shift = [
        np.abs(truth.ability(answers[0, met], met, around=near) - truth.abilities[0]).max()
        for met in (few, many)
    ]
    assert shift[1] < shift[0]  # and the answers have the last word


def test_few_answers_beat_their_own_mean_where_items_are_known() -> None:
    rng = np.random.default_rng(7)
    answers, _, truth = draw(rng, 90, 200)
    model = fit_item_response(answers[:50], truth.groups)
    errors = []
    for y in answers[50:]:
        met = rng.permutation(200)[:30]
        means = [y[truth.groups == g].mean() for g in (0, 1)]
        plain = [y[met][truth.groups[met] == g].mean() for g in (0, 1)]
        ours = estimate_means(model, y[met], met, model.ability(y[met], met))
        errors.append((ours - means, np.subtract(plain, means)))
    error, plain_error = (np.array(errors) ** 2).mean(axis=(0, 2))
    assert error < 0.7 * plain_error


def test_scores_are_between_right_and_wrong() -> None:
    with pytest.raises(ValueError, match=r"needs scores in \[0, 1\]"):
        fit_item_response([[0.5, -2.0]])
