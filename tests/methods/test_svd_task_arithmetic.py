"""SVD mutation: singular values grow at random, directions stay, a seed says how."""

import pytest
import torch
from torch import Tensor

from evomerge.errors import EvoMergeException
from evomerge.methods import merge_tensors

METHOD = "svd_task_arithmetic"


def draw(*shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (9,), (6, 5, 2), ()])
def test_rate_zero_is_task_arithmetic_to_the_bit(shape: tuple[int, ...]) -> None:
    base, *models = draw(*shape)
    plain = merge_tensors("task_arithmetic", models, base, weight=[0.3, 0.7])
    assert torch.equal(merge_tensors(METHOD, models, base, weight=[0.3, 0.7], rate=0.0), plain)
    vector = len(shape) < 2
    changed = merge_tensors(METHOD, models, base, weight=[0.3, 0.7], rate=0.1)
    assert torch.equal(changed, plain) is vector


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_singular_vectors_stay_and_values_grow_by_at_most_the_rate(shape: tuple[int, int]) -> None:
    base, model, _ = draw(*shape)
    base = torch.zeros_like(base)
    changed = merge_tensors(METHOD, [model], base, weight=1.0, rate=0.5, svd_seed=3)
    left, sizes, right = torch.linalg.svd(model.double(), full_matrices=False)
    inside = left.T @ changed.double() @ right.T
    growth = inside.diagonal() / sizes
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-5
    assert ((growth >= 1.0 - 1e-6) & (growth < 1.5)).all()
    assert 0.05 < float(growth.std()) < 0.25  # of a uniform draw: 0.5 / √12 = 0.144


def test_seed_decides_and_each_model_and_tensor_has_its_own_draw() -> None:
    base, model, _ = draw(16, 16)
    base = torch.zeros_like(base)

    def merged(seed: float, key: str = "one", name: str = "w") -> Tensor:
        options = {"weight": 1.0, "rate": 0.5, "svd_seed": seed}
        return merge_tensors(METHOD, [model], base, keys=[key], name=name, **options)

    assert torch.equal(merged(1), merged(1))
    assert torch.equal(merged(1), merged(1.0))
    others = [merged(2), merged(1, key="two"), merged(1, name="v")]
    assert not any(torch.equal(merged(1), other) for other in others)


def test_models_without_weight_cost_and_change_nothing() -> None:
    base, one, other = draw(16, 24)
    both = merge_tensors(METHOD, [one, other], base, keys="ab", weight=[0.5, 0.0], rate=0.3)
    alone = merge_tensors(METHOD, [one], base, keys="a", weight=0.5, rate=0.3)
    assert torch.allclose(both, alone)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": -0.1}, r"rate must be in \[0, 100\]: -0.1"),
        ({"svd_seed": -1}, "svd_seed must be in"),
    ],
)
def test_impossible_values_are_told(values: dict[str, float], message: str) -> None:
    base, *models = draw(4, 4)
    with pytest.raises((ValueError, EvoMergeException), match=message):
        merge_tensors(METHOD, models, base, weight=1.0, **values)
