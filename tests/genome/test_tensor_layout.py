"""A genome in mergekit-evolve's layout, and back."""

from typing import Any

import numpy as np
import pytest

from evomerge.checkpoints.architecture import Layout
from evomerge.genome import ParameterSpace, from_tensor, to_tensor

LAYOUT = Layout(
    "model.layers.", 4, ("input_layernorm.weight", "mlp.w.weight"),
    ("model.embed_tokens.weight",), ("model.norm.weight",), None,
)  # fmt: skip


def make(method: str = "ties", **changes: Any) -> ParameterSpace:
    settings = {"base_model": "base", "layer_granularity": 2, "own_embeddings": False, **changes}
    return ParameterSpace(["a", "base", "b"], method, LAYOUT, **settings)


def test_the_shape_is_groups_models_components_parameters() -> None:
    space = make(filters={"mlp": ["mlp"]})
    genome = space.space.settle(np.linspace(0.02, 0.98, len(space.space)))
    tensor = to_tensor(space, genome)
    assert tensor.shape == (2, 3, 2, 2)
    assert not tensor[:, 1].any()  # the base has no genes
    values = space.space.decode(genome)
    assert tensor[1, 2, 0, 1] == values["density.1/layers 2-3/mlp"]
    assert tensor[0, 0, 1, 0] == values["weight.0/layers 0-1/rest"]
    assert np.array_equal(from_tensor(space, tensor), genome)
    assert np.array_equal(from_tensor(space, tensor.reshape(-1)), genome)


def test_values_mean_what_they_mean_to_mergekit_evolve() -> None:
    space = make("task_arithmetic")
    tensor = np.full((2, 3, 1, 1), -0.25)
    assert set(space.space.decode(from_tensor(space, tensor)).values()) == {0.25}
    signed = make("task_arithmetic", allow_negative_weights=True)
    assert set(signed.space.decode(from_tensor(signed, tensor)).values()) == {-0.25}
    assert set(space.space.decode(from_tensor(space, tensor * 8)).values()) == {1.0}


def test_another_shape_is_refused() -> None:
    told = r"expected shape \(2, 3, 1, 2\), \(layer groups, models, components, parameters\), or "
    with pytest.raises(ValueError, match=told + r"it flattened, not \(2, 3, 2, 2\)"):
        from_tensor(make(), np.zeros((2, 3, 2, 2)))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (make(own_embeddings=True), "embeddings have genes of their own here: set `own_embeddings"),
        (
            ParameterSpace(["a"], "slerp", LAYOUT, base_model="base", own_embeddings=False),
            "only numbers that every model has of its own are in that layout",
        ),
    ],
)
def test_genes_that_mergekit_evolve_has_not_are_refused(
    space: ParameterSpace, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        to_tensor(space, space.space.start())
