"""Each merge method against its paper's formula, written out in float64 with numpy.

The references take whole tensors and know nothing of blocks, histograms or buffers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.methods import merge_tensors
from evomerge.tensor_ops.blocks import BLOCK
from evomerge.tensor_ops.random_mask import keep_mask

Array = NDArray[np.float64]
SIZE = BLOCK + 12_345  # one block and a bit
WEIGHTS = (0.7123, 0.4091, -0.2957)  # not round: exact halves between two bfloat16 stay rare
DENSITIES = (0.2, 0.55, 1.0)


def linear(models: Sequence[Array], weight: Sequence[float], normalize: bool = True) -> Array:
    total = sum(w * m for w, m in zip(weight, models, strict=True))
    return np.asarray(total / sum(weight) if normalize else total)


def slerp(base: Array, other: Array, t: float) -> Array:
    angle = np.arccos(base @ other / (np.linalg.norm(base) * np.linalg.norm(other)))
    parts = np.sin((1 - t) * angle) * base + np.sin(t * angle) * other
    return np.asarray(parts / np.sin(angle))


def task_arithmetic(base: Array, models: Sequence[Array], weight: Sequence[float]) -> Array:
    return base + sum(w * (m - base) for w, m in zip(weight, models, strict=True))


def agree(weighted: Array, weight: Array, normalize: bool) -> Array:
    sign = np.where(weighted.sum(axis=0) >= 0, 1.0, -1.0)
    chosen = weighted * sign > 0
    divisor = (chosen * weight[:, None]).sum(axis=0)
    kept = (weighted * chosen).sum(axis=0)
    return np.asarray(kept / np.where(divisor == 0, 1.0, divisor) if normalize else kept)


def ties(
    base: Array, models: Sequence[Array], weight: Sequence[float], density: Sequence[float]
) -> Array:
    deltas = np.stack([m - base for m in models])
    for delta, share in zip(deltas, density, strict=True):
        delta[np.argsort(-np.abs(delta), kind="stable")[max(1, int(share * len(delta))) :]] = 0
    factors = np.array(weight)
    return base + agree(factors[:, None] * deltas, factors, normalize=True)


def dare(
    base: Array, models: Sequence[Array], masks: Array, weight: Sequence[float], rescale: object
) -> Array:
    """Return the weighted, dropped and rescaled task vectors, one row per model."""
    deltas = np.stack([m - base for m in models])
    dropped = deltas * masks
    norms = np.abs(deltas).sum(axis=1) / np.abs(dropped).sum(axis=1)
    factors = {True: norms, "paper": 1 / np.array(DENSITIES), False: np.ones(len(norms))}[rescale]  # type: ignore[index]  # bool or 'paper'
    return np.asarray(np.array(weight)[:, None] * dropped * factors[:, None])


def draw(dtype: torch.dtype, models: int = 3) -> list[Tensor]:
    """Return a base and models that are small steps away from it, as fine-tuned ones are."""
    generator = torch.Generator().manual_seed(11)
    base = torch.randn(SIZE, generator=generator) * 0.02
    steps = [torch.randn(SIZE, generator=generator) * 0.004 for _ in range(models)]
    return [base.to(dtype), *((base + step).to(dtype) for step in steps)]


def masks() -> Array:
    """Return the masks that `merge_tensors` gives to three models with seed 5."""
    rows = [keep_mask((5, str(k), ""), 0, SIZE, d).numpy() for k, d in enumerate(DENSITIES)]
    return np.stack(rows).astype(float)


Case = tuple[Callable[[list[Tensor]], Tensor], Callable[[list[Array]], Array]]
CASES: dict[str, Case] = {
    "linear": (
        lambda x: merge_tensors("linear", x, weight=[0.5, *WEIGHTS]),
        lambda x: linear(x, [0.5, *WEIGHTS]),
    ),
    "linear, not normalized": (
        lambda x: merge_tensors("linear", x[1:], weight=WEIGHTS, normalize=False),
        lambda x: linear(x[1:], WEIGHTS, normalize=False),
    ),
    "slerp": (
        lambda x: merge_tensors("slerp", x[1:2], x[0], t=0.3),
        lambda x: slerp(x[0], x[1], 0.3),
    ),
    "slerp of unrelated vectors": (
        lambda x: merge_tensors("slerp", [x[1].flip(0)], x[0], t=0.8),
        lambda x: slerp(x[0], x[1][::-1], 0.8),
    ),
    "task_arithmetic": (
        lambda x: merge_tensors("task_arithmetic", x[1:], x[0], weight=WEIGHTS),
        lambda x: task_arithmetic(x[0], x[1:], WEIGHTS),
    ),
    "task_arithmetic, scaled": (
        lambda x: merge_tensors(
            "task_arithmetic", x[1:], x[0], weight=WEIGHTS, normalize=True, lambda_=0.6
        ),
        lambda x: task_arithmetic(x[0], x[1:], [0.6 * w / sum(WEIGHTS) for w in WEIGHTS]),
    ),
    "ties": (
        lambda x: merge_tensors("ties", x[1:], x[0], weight=WEIGHTS, density=DENSITIES),
        lambda x: ties(x[0], x[1:], WEIGHTS, DENSITIES),
    ),
    "passthrough": (
        lambda x: merge_tensors("passthrough", x[:1], scale=0.37),
        lambda x: 0.37 * x[0],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_float32_follows_the_formula(case: Case) -> None:
    engine, reference = case
    tensors = draw(torch.float32)
    expected = reference([tensor.double().numpy() for tensor in tensors])
    np.testing.assert_allclose(engine(tensors).numpy(), expected, rtol=2e-6, atol=2e-8)


@pytest.mark.parametrize("rescale", [True, "paper", False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_follows_the_formula_given_its_mask(
    method: str, normalize: bool, rescale: object
) -> None:
    tensors = draw(torch.float32)
    merged = merge_tensors(
        method, tensors[1:], tensors[0], seed=5, weight=WEIGHTS, density=DENSITIES,
        normalize=normalize, rescale=rescale,
    )  # fmt: skip
    base, *models = (tensor.double().numpy() for tensor in tensors)
    weighted = dare(base, models, masks(), WEIGHTS, rescale)
    blended = weighted.sum(axis=0) / (sum(WEIGHTS) if normalize else 1.0)
    if method == "dare_ties":
        blended = agree(weighted, np.array(WEIGHTS), normalize)
    np.testing.assert_allclose(merged.numpy(), base + blended, rtol=2e-6, atol=5e-8)


def round_to_bfloat16(values: Array) -> Array:
    """Round float64 to 8 significant bits, half to even, in one step."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 256), exponent - 8))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bfloat16_is_rounded_once(case: Case) -> None:
    engine, reference = case
    tensors = draw(torch.bfloat16)
    exact = reference([tensor.double().numpy() for tensor in tensors])
    merged = engine(tensors).to(torch.bfloat16).double().numpy()
    assert (merged == round_to_bfloat16(exact)).mean() >= 0.999


def test_golden_values_of_a_merge_worked_out_by_hand() -> None:
    base = torch.tensor([1.0, 1.0, 1.0, 1.0])
    a = torch.tensor([1.0, 3.0, -3.0, 2.0])  # deltas 0, 2, -4, 1
    b = torch.tensor([2.0, 0.0, 4.0, 1.0])  # deltas 1, -1, 3, 0
    merged = {
        "task_arithmetic": merge_tensors("task_arithmetic", [a, b], base, weight=0.5),
        "ties": merge_tensors("ties", [a, b], base, weight=0.5, density=0.5),
        "linear": merge_tensors("linear", [a, b], weight=[3, 1]),
    }
    assert merged["task_arithmetic"].tolist() == [1.5, 1.5, 0.5, 1.5]
    # two entries of each delta stay: (0, 2, -4, 0) and (1, 0, 3, 0) - of the two ±1 the first
    assert merged["ties"].tolist() == [2.0, 3.0, -3.0, 1.0]
    assert merged["linear"].tolist() == [1.25, 2.25, -1.25, 1.75]
