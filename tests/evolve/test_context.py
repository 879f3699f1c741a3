from types import SimpleNamespace
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evolve.context import check_context, read_context


def task(name: str, context: int, subject: str = "model") -> Any:
    return SimpleNamespace(name=name, evaluator=SimpleNamespace(context=context, subject=subject))


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 1024, "n_ctx": 512}, 1024),
        ({"text_config": {"max_position_embeddings": 32}, "n_ctx": 5}, 32),
        ({}, None),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_a_config_states_its_context(config: dict[str, Any], context: int | None) -> None:
    assert read_context(config) == context


def test_the_task_that_needs_most_is_named() -> None:
    told = "task coding needs a context of 256 tokens, and zoo:sort has 64. Name other tasks"
    with pytest.raises(EvaluationError, match=told):
        check_context([task("a", 128), task("coding", 256), task("b", 0)], "zoo:sort", 64)


def test_what_fits_or_is_not_known_or_asks_no_model_passes() -> None:
    check_context([task("a", 128)], "zoo:sort", 128)
    check_context([task("a", 128)], "zoo:sort", None)
    check_context([task("a", 128, "recipe")], "zoo:sort", 64)
    check_context([], "zoo:sort", 64)
