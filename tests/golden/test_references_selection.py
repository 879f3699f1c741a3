"""Methods that choose elements against their formulas, written out in float64 with numpy.

The references sort whole tensors and know nothing of blocks, histograms or buffers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.methods import merge_tensors

Array = NDArray[np.float64]
Draw = Callable[..., list[Tensor]]
Matches = Callable[[Tensor, Array], float]


def sce(base: Array, models: Sequence[Array], share: float) -> Array:
    deltas = np.stack([(m - base).ravel() for m in models])
    if share < 1:
        offsets = deltas - deltas[0]  # an exact variance, so that ties are ties
        spread = len(models) * (offsets**2).sum(axis=0) - offsets.sum(axis=0) ** 2
        spread = np.sqrt(spread).astype(np.float32)
        kept = int(share * np.count_nonzero(spread) + 1e-6)
        deltas[:, np.argsort(-spread, kind="stable")[kept:]] = 0
    weights = (deltas**2).sum(axis=1, keepdims=True)
    weights = weights / weights.sum()
    agree = weights * (np.sign(deltas) == np.where(deltas.sum(axis=0) >= 0, 1, -1))
    total = agree.sum(axis=0)
    merged = (agree * deltas).sum(axis=0) / np.where(total == 0, 1, total)
    return base + merged.reshape(base.shape)


def nearswap(base: Array, other: Array, t: float) -> Array:
    distance = np.abs(base - other)
    weight = np.where(distance <= t, 1.0, t / np.maximum(distance, t))
    return weight * other + (1 - weight) * base


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True) + 1e-8)


def arcee_fusion(base: Array, other: Array) -> Array:
    p, q = softmax(other), softmax(base)
    importance = np.abs(other - base) * (p * np.log(p / q)).sum(axis=-1, keepdims=True)
    ranked = np.sort(importance.ravel())
    low, median, high = (ranked[int(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))
    return np.where(importance >= median + 1.5 * (high - low), other, base)


def ram(
    base: Array, models: Sequence[Array], epsilon: float, r: float = 0.0, alpha: float = 0.0
) -> Array:
    deltas = np.stack([m - base for m in models])
    changed = np.abs(deltas) > epsilon
    count = changed.sum(axis=0)
    merged = np.zeros_like(base)
    for delta, own in zip(deltas, changed, strict=True):
        unique, shared = own & (count == 1), own & (count > 1)
        ratio = shared.sum() / max(unique.sum(), 1)
        gain = 1 + r * min(ratio, alpha)
        merged += np.where(unique, gain * delta, 0) + np.where(shared, delta / (count + 1e-300), 0)
    return base + merged


Engine = Callable[[list[Tensor]], Tensor]
Case = tuple[Engine, Callable[[list[Array]], Array]]
CASES: dict[str, Case] = {
    "sce": (lambda x: merge_tensors("sce", x[1:], x[0]), lambda x: sce(x[0], x[1:], 1.0)),
    "sce of a third": (
        lambda x: merge_tensors("sce", x[1:], x[0], select_topk=0.33),
        lambda x: sce(x[0], x[1:], 0.33),
    ),
    "nearswap": (
        lambda x: merge_tensors("nearswap", x[1:2], x[0], t=3.137e-4),
        lambda x: nearswap(x[0], x[1], 3.137e-4),
    ),
    "arcee_fusion": (
        lambda x: merge_tensors("arcee_fusion", x[1:2], x[0]),
        lambda x: arcee_fusion(x[0], x[1]),
    ),
    "ram": (
        lambda x: merge_tensors("ram", x[1:], x[0], epsilon=2e-4),
        lambda x: ram(x[0], x[1:], 2e-4),
    ),
    "ramplus_tl": (
        lambda x: merge_tensors("ramplus_tl", x[1:], x[0], epsilon=2e-4, r=0.3, alpha=0.7),
        lambda x: ram(x[0], x[1:], 2e-4, r=0.3, alpha=0.7),
    ),
}


def as_float64(tensors: Sequence[Tensor]) -> list[Array]:
    return [tensor.double().numpy() for tensor in tensors]


@pytest.mark.parametrize("rms", [1e-3, 1e-4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_half_precision_is_rounded_once(
    case: Case, dtype: torch.dtype, rms: float, draw: Draw, matches: Matches
) -> None:
    engine, reference = case
    tensors = draw(dtype, rms)
    assert matches(engine(tensors).to(dtype), reference(as_float64(tensors))) >= 0.999


@pytest.mark.parametrize("rms", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_float32_selects_what_float64_selects(case: Case, rms: float, draw: Draw) -> None:
    engine, reference = case
    tensors = draw(torch.float32, rms)
    base, *_ = arrays = as_float64(tensors)
    merged, expected = engine(tensors).double().numpy() - base, reference(arrays) - base
    off = np.abs(merged - expected) > 1e-5 * rms + 4e-9  # half a unit of the weights' last digit
    assert off.sum() <= 10  # of 140,000: those on the threshold, where importances are rounded


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("rms", [1e-5, 1e-8])
def test_sce_knows_no_smallest_change(rms: float, share: float, draw: Draw) -> None:
    zero, *models = draw(torch.float32, rms, (2048,))
    factors = (1.0, 2.0, 4.0)
    steps = [f * (model - zero) for f, model in zip(factors, models, strict=True)]
    merged = merge_tensors("sce", steps, torch.zeros(2048), select_topk=share).double().numpy()
    expected = sce(np.zeros(2048), as_float64(steps), share)
    assert np.abs(expected).max() > rms
    np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6 * rms)


def test_arcee_fusion_counts_all_elements_of_a_large_tensor(draw: Draw) -> None:
    tensors = draw(torch.float32, 1e-3, (1100, 1000), models=1)
    base, other = as_float64(tensors)
    merged = merge_tensors("arcee_fusion", tensors[1:], tensors[0]).double().numpy()
    assert (merged != arcee_fusion(base, other)).sum() <= 4


def test_nearswap_takes_over_near_weights_bit_by_bit(draw: Draw) -> None:
    base, other = draw(torch.float32, 1e-3, (300, 7), models=1)
    merged = merge_tensors("nearswap", [other], base, t=1e-3)
    near = (base - other).abs() <= 1e-3
    assert 0 < near.sum() < near.numel()
    assert torch.equal(merged[near], other[near])
    torch.testing.assert_close((merged - base).abs()[~near].max(), torch.tensor(1e-3))


def test_golden_values_of_ram_worked_out_by_hand() -> None:
    base = torch.tensor([1.0, 1.0, 1.0, 1.0])
    a = torch.tensor([3.0, 1.0, 5.0, 1.0])  # deltas 2, 0, 4, 0: one its own, one shared
    b = torch.tensor([1.0, 2.0, 3.0, 1.0])  # deltas 0, 1, 2, 0
    assert merge_tensors("ram", [a, b], base).tolist() == [3.0, 2.0, 4.0, 1.0]
    plus = merge_tensors("ramplus_tl", [a, b], base, r=0.5, alpha=1.0)  # both gain 1 + 0.5·1
    assert plus.tolist() == [4.0, 2.5, 4.0, 1.0]
