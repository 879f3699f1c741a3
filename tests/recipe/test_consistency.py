"""Values that are good one by one and not together: weights that cancel, limits that clash."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evomerge.errors import RecipeError
from evomerge.recipe import parse_recipe
from evomerge.recipe.consistency import find_cancelling
from evomerge.recipe.schedule import read_schedule


def linear(weights: tuple[Any, ...], **parameters: Any) -> dict[str, Any]:
    models = [{"model": f"m{i}", "parameters": {"weight": w}} for i, w in enumerate(weights)]
    return {"merge_method": "linear", "models": models, "parameters": parameters}


@pytest.mark.parametrize(
    ("weights", "where"),
    [
        ((1, -1), ""),
        ((0, 0), ""),
        ((1, -1 + 1e-9), ""),
        ((0.3, 0.3, -0.6), ""),
        (([0, 1], [0, 2]), " at depth 0"),
        (([1, 0, 1], [1, 0, 1]), " at depth 0.5"),
        (([1, -2], 0), " at depth 0.333"),
        (([1, -1], [1, 0.5, -2]), " at depth 0.571"),
        (([{"filter": "mlp", "value": -1}, {"value": 1}], 1), " for 'mlp'"),
        (([{"filter": "mlp", "value": [1, -1]}, {"value": 1}], 1), " for 'mlp' at depth 1"),
    ],
)
def test_weights_that_cancel_are_refused_where_they_do(
    weights: tuple[Any, ...], where: str
) -> None:
    with pytest.raises(RecipeError, match="problem") as caught:
        parse_recipe(linear(weights))
    (problem,) = caught.value.problems
    told = f"models: the weights sum to zero{where}, so they cannot be normalized"
    assert str(problem) == told
    parse_recipe(linear(weights, normalize=False))


@pytest.mark.parametrize(
    "weights", [(0.1, 0.2), (1, -0.999999), (1e-12, 1e-12), ([1, 2], [-0.5, -1.5]), ([-1, -2], 0)]
)
def test_weights_that_do_not_cancel_are_taken(weights: tuple[Any, ...]) -> None:
    parse_recipe(linear(weights))


def test_weights_may_cancel_where_they_are_not_normalized() -> None:
    only_mlp = [{"filter": "mlp", "value": True}, {"value": False}]
    parse_recipe(linear((1, -1), normalize=[{"filter": "mlp", "value": False}, {"value": 0}]))
    with pytest.raises(RecipeError, match="the weights sum to zero for 'mlp', so"):
        parse_recipe(linear((1, -1), normalize=only_mlp))


GRADIENTS = st.lists(st.integers(-4, 4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(st.lists(GRADIENTS, min_size=1, max_size=3))
def test_cancelling_is_found_exactly_where_a_fine_grid_finds_it(gradients: list[list[int]]) -> None:
    schedules = [[read_schedule(list(values))] for values in gradients]
    grid = np.linspace(0, 1, 60 * 7 + 1)  # holds every place of gradients of up to four values
    sums = sum(np.interp(grid, np.linspace(0, 1, len(g)), g) if len(g) > 1 else g[0] + 0 * grid
               for g in gradients)  # fmt: skip
    found = find_cancelling(schedules, [], default=True)
    signs = np.sign(np.where(np.abs(sums) < 1e-9, 0, sums))
    assert (found is not None) == bool((signs == 0).any() or len(set(signs)) > 1)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40))
def test_the_place_told_is_where_the_sum_is_zero(high: int, low: int) -> None:
    assume(high != low)
    found = find_cancelling([[read_schedule([high, -low])]], [], default=True)
    assert found is not None
    told = float(found.removeprefix(" at depth "))
    assert told == pytest.approx(high / (high + low), abs=1e-3)


def test_values_must_go_together() -> None:
    models = [{"model": "a", "parameters": {"weight": 1, "density": [0.5, 0.9], "epsilon": 0.3}}]
    document = {"merge_method": "della", "base_model": "b", "models": models}
    with pytest.raises(RecipeError, match=r"models\[0\]: epsilon must be in .* at depth 1$"):
        parse_recipe(document)
    models[0]["parameters"]["density"] = [0.5, 0.6]  # type: ignore[index]  # a dict
    parse_recipe(document)
