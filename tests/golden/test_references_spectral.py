"""Methods of singular values and of depth against their papers, written out in float64 with numpy.

The references decompose the matrices themselves, the engine their inner products.
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
WEIGHTS = (0.7123, 0.4091, 1.2957)


def svd(matrix: Array) -> tuple[Array, Array, Array]:
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return left, sizes, right


def orthogonal(matrix: Array) -> Array:
    left, _, right = svd(matrix)
    return np.asarray(left @ right)


def tsv_m(deltas: Sequence[Array]) -> Array:
    kept = min(deltas[0].shape) // len(deltas)
    parts = [svd(delta) for delta in deltas]
    left = orthogonal(np.concatenate([u[:, :kept] for u, _, _ in parts], axis=1))
    right = orthogonal(np.concatenate([v[:kept] for _, _, v in parts], axis=0))
    sizes = np.concatenate([s[:kept] for _, s, _ in parts])
    return np.asarray(left * sizes @ right)


def iso_c(deltas: Sequence[Array]) -> Array:
    left, sizes, right = svd(sum(deltas))  # type: ignore[arg-type]  # a sum of arrays is one
    return np.asarray(sizes.mean() * left @ right)


def iso_cts(deltas: Sequence[Array], fraction: float) -> Array:
    side, count = min(deltas[0].shape), len(deltas)
    own = round((side - int(side * fraction)) / count)
    left, sizes, right = svd(sum(deltas))  # type: ignore[arg-type]  # as above
    common = side - own * count
    left, sizes, right = left[:, :common], sizes[:common], right[:common]
    tasks = [svd(delta - left @ (left.T @ delta)) for delta in deltas]
    lefts = orthogonal(np.concatenate([*(u[:, :own] for u, _, _ in tasks), left], axis=1))
    rights = orthogonal(np.concatenate([*(v[:own] for _, _, v in tasks), right], axis=0))
    mean = np.concatenate([*(s[:own] for _, s, _ in tasks), sizes]).mean()
    return np.asarray(mean * lefts @ rights)


def weighted(x: Sequence[Array]) -> list[Array]:
    return [w * (m - x[0]) for w, m in zip(WEIGHTS, x[1:], strict=True)]


Case = tuple[Callable[[list[Tensor]], Tensor], Callable[[list[Array]], Array]]
SPECTRAL: dict[str, Case] = {
    "tsv_m": (
        lambda x: merge_tensors("tsv_m", x[1:], x[0], weight=WEIGHTS, lambda_=0.83),
        lambda x: x[0] + 0.83 * tsv_m(weighted(x)),
    ),
    "iso_c": (
        lambda x: merge_tensors("iso_c", x[1:], x[0], weight=WEIGHTS, lambda_=0.83),
        lambda x: x[0] + 0.83 * iso_c(weighted(x)),
    ),
    "iso_cts": (
        lambda x: merge_tensors("iso_cts", x[1:], x[0], weight=WEIGHTS, lambda_=0.83),
        lambda x: x[0] + 0.83 * iso_cts(weighted(x), 0.8),
    ),
}
CASES: dict[str, Case] = {
    **SPECTRAL,
    "lines": (
        lambda x: merge_tensors(
            "lines", x[1:], x[0], depth=0.35, weight=WEIGHTS, alpha=0.2, beta=0.9
        ),
        lambda x: x[0] + (0.2 + 0.9 * 0.35) * np.sum(weighted(x), axis=0),
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
    tensors = draw(dtype, rms, (300, 200))
    assert matches(engine(tensors).to(dtype), reference(as_float64(tensors))) >= 0.999


@pytest.mark.parametrize("case", SPECTRAL.values(), ids=SPECTRAL)
@pytest.mark.parametrize("shape", [(90, 90), (40, 130), (20_000, 64), (30, 5, 4, 2)])
def test_tall_wide_square_and_folded_tensors_are_matrices(
    case: Case, shape: tuple[int, ...], draw: Draw
) -> None:
    engine, reference = case
    tensors = draw(torch.float32, 1e-3, shape)
    arrays = [array.reshape(shape[0], -1) for array in as_float64(tensors)]
    merged = engine(tensors).double().numpy().reshape(shape[0], -1)
    np.testing.assert_allclose(merged - arrays[0], reference(arrays) - arrays[0], atol=2e-8)


@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("shape", [(50,), (2, 50)])
def test_vectors_and_what_is_too_narrow_are_averaged(
    method: str, shape: tuple[int, ...], draw: Draw
) -> None:
    if method != "tsv_m" and len(shape) > 1:
        shape = (50,)  # only task singular vectors need a direction for each task
    tensors = draw(torch.float32, 1e-3, shape)
    arrays = as_float64(tensors)
    merged = merge_tensors(method, tensors[1:], tensors[0], weight=WEIGHTS, lambda_=0.7)
    expected = arrays[0] + 0.7 * np.mean(weighted(arrays), axis=0)
    np.testing.assert_allclose(merged.double().numpy(), expected, atol=2e-8)


@pytest.mark.parametrize("method", SPECTRAL)
def test_changes_of_low_rank_bring_no_other_directions(method: str) -> None:
    generator = torch.Generator().manual_seed(3)
    down = torch.randn(3, 60, 2, generator=generator)
    up = torch.randn(3, 2, 40, generator=generator)
    deltas = [d @ u for d, u in zip(down, up, strict=True)]
    merged = merge_tensors(method, deltas, torch.zeros(60, 40))
    spanned, _ = torch.linalg.qr(torch.cat(list(down), dim=1))
    torch.testing.assert_close(spanned @ (spanned.T @ merged), merged, rtol=0, atol=2e-5)
    assert torch.linalg.matrix_rank(merged, atol=1e-3) == 6


def test_tasks_that_share_nothing_keep_all_they_have() -> None:
    generator = torch.Generator().manual_seed(4)
    deltas = [torch.zeros(30, 30) for _ in range(3)]
    for i, delta in enumerate(deltas):
        part = slice(10 * i, 10 * i + 10)
        delta[part, part] = torch.randn(10, 10, generator=generator)
    merged = merge_tensors("tsv_m", deltas, torch.zeros(30, 30))
    torch.testing.assert_close(merged, torch.stack(deltas).sum(dim=0), rtol=0, atol=2e-6)


def test_isotropic_means_one_singular_value(draw: Draw) -> None:
    base, *models = draw(torch.float32, 1e-2, (50, 40))
    merged = merge_tensors("iso_c", models, base)
    sizes = torch.linalg.svdvals((merged - base).double())
    torch.testing.assert_close(sizes, sizes.mean().expand_as(sizes), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("depth", "factor"), [(0.0, 0.3), (0.5, 0.55), (1.0, 0.8)])
def test_lines_grow_with_depth(depth: float, factor: float, draw: Draw) -> None:
    base, *models = draw(torch.float32, 1e-2, (50,), models=2)
    settings = {"weight": [0.4, 0.9], "alpha": 0.3, "beta": 0.5}
    merged = merge_tensors("lines", models, base, depth=depth, **settings)
    flat = merge_tensors("task_arithmetic", models, base, weight=[0.4, 0.9], lambda_=factor)
    torch.testing.assert_close(merged, flat)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(2, 50), (50, 2), (1, 7), (5, 5)])
def test_isotropic_subspaces_never_exceed_the_smaller_side(
    fraction: float, shape: tuple[int, int], draw: Draw
) -> None:
    base, *models = draw(torch.float32, 1e-2, shape)
    merged = merge_tensors("iso_cts", models, base, common_space_fraction=fraction)
    rank = torch.linalg.matrix_rank((merged - base).double(), rtol=1e-4)
    assert 1 <= rank <= min(shape)
    if fraction == 1.0:
        torch.testing.assert_close(merged, merge_tensors("iso_c", models, base))
