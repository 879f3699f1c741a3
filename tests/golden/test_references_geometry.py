"""Methods of angles and lengths against their formulas, written out in float64 with numpy.

The references take whole vectors and know nothing of inner products, blocks or buffers.
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
WEIGHTS = (0.7123, 0.4091, 0.2957)


def angle(a: Array, b: Array) -> float:
    cosine = np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.arccos(np.clip(cosine, -1, 1)))


def nuslerp(a: Array, b: Array, weight: Sequence[float]) -> Array:
    t, omega = weight[1] / (weight[0] + weight[1]), angle(a, b)
    return np.asarray((np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega))


def nuslerp_along(axis: int, a: Array, b: Array, weight: Sequence[float]) -> Array:
    merged = np.empty_like(a)
    for i in range(a.shape[1 - axis]):
        row = (i, slice(None)) if axis == 1 else (slice(None), i)
        merged[row] = nuslerp(a[row], b[row], weight)
    return merged


def multislerp(models: Sequence[Array], weight: Sequence[float], normalize: bool = True) -> Array:
    """Project on the tangent plane at the mean, average there, go back by the exponential map."""
    weights = np.array(weight) / (sum(weight) if normalize else 1.0)
    norms = np.array([np.linalg.norm(m) for m in models])
    units = [m / n for m, n in zip(models, norms, strict=True)]
    mean = sum(w * u for w, u in zip(weights, units, strict=True))
    mean = mean / np.linalg.norm(mean)
    tangents = [u - np.sum(u * mean) * mean for u in units]
    tangent = sum(w * v for w, v in zip(weights, tangents, strict=True))
    length = np.linalg.norm(tangent) + 1e-30
    return np.asarray(
        (np.cos(length) * mean + np.sin(length) / length * tangent) * np.sum(weights * norms)
    )


def karcher(models: Sequence[Array], steps: int = 200) -> Array:
    """Average the logarithms and follow the exponential map until nothing moves any more."""
    norms = [np.linalg.norm(m) for m in models]
    units = [m / n for m, n in zip(models, norms, strict=True)]
    mean = units[0]
    for _ in range(steps):
        step = np.zeros_like(mean)
        for unit in units:
            away = unit - np.sum(unit * mean) * mean
            step += angle(unit, mean) * away / max(np.linalg.norm(away), 1e-300) / len(units)
        length = max(float(np.linalg.norm(step)), 1e-300)
        mean = np.cos(length) * mean + np.sin(length) * step / length
        mean /= np.linalg.norm(mean)
    return np.asarray(mean * np.mean(norms))


def model_stock(base: Array, models: Sequence[Array]) -> Array:
    deltas = [m - base for m in models]
    count = len(deltas)
    pairs = [(a, b) for i, a in enumerate(deltas) for b in deltas[:i]]
    cosine = np.mean([np.cos(angle(a, b)) for a, b in pairs])
    t = count * cosine / (1 + (count - 1) * cosine)
    return np.asarray(t * np.mean(models, axis=0) + (1 - t) * base)


def model_stock_by_rows(base: Array, models: Sequence[Array]) -> Array:
    rows = [model_stock(base[i], [m[i] for m in models]) for i in range(len(base))]
    return np.stack(rows)


Case = tuple[Callable[[list[Tensor]], Tensor], Callable[[list[Array]], Array]]
CASES: dict[str, Case] = {
    "nuslerp": (
        lambda x: merge_tensors("nuslerp", x[1:3], weight=WEIGHTS[:2]),
        lambda x: nuslerp(x[1], x[2], WEIGHTS),
    ),
    "nuslerp of task vectors": (
        lambda x: merge_tensors("nuslerp", x[1:3], x[0], weight=WEIGHTS[:2]),
        lambda x: x[0] + nuslerp(x[1] - x[0], x[2] - x[0], WEIGHTS),
    ),
    "nuslerp by rows": (
        lambda x: merge_tensors("nuslerp", x[1:3], weight=WEIGHTS[:2], nuslerp_flatten=False),
        lambda x: nuslerp_along(1, x[1], x[2], WEIGHTS),
    ),
    "nuslerp of task vectors by columns": (
        lambda x: merge_tensors(
            "nuslerp", x[1:3], x[0], weight=WEIGHTS[:2],
            nuslerp_flatten=False, nuslerp_row_wise=True,
        ),
        lambda x: x[0] + nuslerp_along(0, x[1] - x[0], x[2] - x[0], WEIGHTS),
    ),
    "multislerp": (
        lambda x: merge_tensors("multislerp", x[1:], weight=WEIGHTS),
        lambda x: multislerp(x[1:], WEIGHTS),
    ),
    "multislerp of task vectors, not normalized": (
        lambda x: merge_tensors("multislerp", x[1:], x[0], weight=WEIGHTS, normalize_weights=False),
        lambda x: x[0] + multislerp([m - x[0] for m in x[1:]], WEIGHTS, normalize=False),
    ),
    "model_stock": (
        lambda x: merge_tensors("model_stock", x[1:], x[0]),
        lambda x: model_stock(x[0], x[1:]),
    ),
    "model_stock by rows": (
        lambda x: merge_tensors("model_stock", x[1:], x[0], filter_wise=True),
        lambda x: model_stock_by_rows(x[0], x[1:]),
    ),
}  # fmt: skip
KARCHER: Case = (lambda x: merge_tensors("karcher", x[1:]), lambda x: karcher(x[1:], steps=4))


def as_float64(tensors: Sequence[Tensor]) -> list[Array]:
    return [tensor.double().numpy() for tensor in tensors]


@pytest.mark.parametrize("rms", [1e-3, 1e-4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", [*CASES.values(), KARCHER], ids=[*CASES, "karcher"])
def test_half_precision_is_rounded_once(
    case: Case, dtype: torch.dtype, rms: float, draw: Draw, matches: Matches
) -> None:
    engine, reference = case
    tensors = draw(dtype, rms)
    assert matches(engine(tensors).to(dtype), reference(as_float64(tensors))) >= 0.999


ROWS = {"nuslerp_flatten": False}
COLUMNS = {"nuslerp_flatten": False, "nuslerp_row_wise": True}
PIECEWISE = [("nuslerp", ROWS), ("nuslerp", COLUMNS), ("model_stock", {"filter_wise": True})]


def weighted(method: str) -> dict[str, object]:
    return {"weight": WEIGHTS[:2]} if method == "nuslerp" else {}


@pytest.mark.parametrize(("method", "flags"), PIECEWISE)
def test_a_vector_is_one_row_and_one_column(
    method: str, flags: dict[str, bool], draw: Draw
) -> None:
    base, *models = draw(torch.float32, 1e-3, (1000,), models=2)
    whole = merge_tensors(method, models, base, **weighted(method))
    merged = merge_tensors(method, models, base, **weighted(method), **flags)
    torch.testing.assert_close(merged, whole)


@pytest.mark.parametrize(
    ("method", "flags", "matrix"),
    [(*case, shape) for case, shape in zip(PIECEWISE, [(300, 3), (60, 15), (300, 3)], strict=True)],
)
def test_tensors_of_more_dimensions_fall_into_rows_and_columns(
    method: str, flags: dict[str, bool], matrix: tuple[int, int], draw: Draw
) -> None:
    base, *models = draw(torch.float32, 1e-3, (60, 5, 3), models=2)
    merged = merge_tensors(method, models, base, **weighted(method), **flags)
    flat = [model.view(matrix) for model in models]
    expected = merge_tensors(method, flat, base.view(matrix), **weighted(method), **flags)
    torch.testing.assert_close(merged.view(matrix), expected)


@pytest.mark.parametrize("rms", [1e-5, 1e-7])
def test_model_stock_knows_no_smallest_change(rms: float, draw: Draw) -> None:
    zero, *steps = draw(torch.float32, rms, (2048,))
    steps = [step - zero + 0.5 * rms for step in steps]  # a direction they share
    zero = torch.zeros(2048)
    merged = merge_tensors("model_stock", steps, zero).double().numpy()
    expected = model_stock(zero.double().numpy(), as_float64(steps))
    assert np.abs(expected).max() > rms / 10
    np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6 * rms)


def test_karcher_finds_the_mean_of_unrelated_directions(draw: Draw) -> None:
    tensors = draw(torch.float32, 0.05, (300, 7))[1:]
    merged = merge_tensors("karcher", tensors, max_iter=100, tol=1e-7)
    expected = karcher(as_float64(tensors))
    np.testing.assert_allclose(merged.numpy(), expected, rtol=1e-5, atol=5e-8)


def test_karcher_of_opposite_directions_keeps_the_first(draw: Draw) -> None:
    one = draw(torch.float32, 1e-3, (300, 7))[1]
    merged = merge_tensors("karcher", [one, -one])
    torch.testing.assert_close(merged, one)


@pytest.mark.parametrize("method", ["multislerp", "nuslerp"])
def test_models_that_leave_a_tensor_alone_leave_it_alone(method: str, draw: Draw) -> None:
    base = draw(torch.float32, 1e-3, (30, 7))[0]
    merged = merge_tensors(method, [base, base], base, weight=[0.3, 0.7])
    assert torch.equal(merged, base)


@pytest.mark.parametrize("flags", [{}, {"nuslerp_flatten": False}])
def test_nuslerp_of_opposite_directions_is_linear(flags: dict[str, bool], draw: Draw) -> None:
    one = draw(torch.float32, 1e-3, (30, 7))[1]
    merged = merge_tensors("nuslerp", [one, -one], weight=[3.0, 1.0], **flags)
    torch.testing.assert_close(merged, 0.5 * one)
