"""Each merge method against its paper's formula, written out in float64 with numpy.

The references take whole tensors and know nothing of blocks, histograms or buffers. Of the random
methods they are told the draws, and compute all else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.methods import METHODS, merge_tensors
from evomerge.methods.generalized_task_arithmetic import FAMILY
from evomerge.tensor_ops.blocks import BLOCK
from evomerge.tensor_ops.philox import draw_bits, philox_key

Array = NDArray[np.float64]
LARGE = (1501, 351)  # more than a block
SMALL = (200, 211)
SEED = 5
WEIGHTS = (0.7123, 0.4091, -0.2957, 0.5311, 0.2303)
ROUND = (0.7, 0.4, 0.3, 0.25, 0.1)  # sums that cancel and exact halves, as users write them
DENSITIES = (0.2, 0.55, 0.8, 0.35, 0.7)


# ---- the formulas


PARTS = 30_000


def whole(weight: Sequence[float]) -> Array:
    """Count a weight in 30,000ths, so that 0.1 and 1/3 are exact, and so are their sums."""
    return np.rint(np.array(weight) * PARTS)


def linear(models: Sequence[Array], weight: Sequence[float], normalize: bool = True) -> Array:
    wholes = whole(weight)
    total = sum(w * m for w, m in zip(wholes, models, strict=True))
    return np.asarray(total / (wholes.sum() if normalize else PARTS))


def slerp(base: Array, other: Array, t: float) -> Array:
    cosine = (base * other).sum() / (np.linalg.norm(base) * np.linalg.norm(other))
    if cosine > 0.9995:  # mergekit's bound
        return linear([base, other], [1 - t, t])
    angle = np.arccos(cosine)
    parts = np.sin((1 - t) * angle) * base + np.sin(t * angle) * other
    return np.asarray(parts / np.sin(angle))


def combine(
    deltas: Sequence[Array], weight: Sequence[float], consensus: str, normalize: bool
) -> Array:
    """Sum weighted task vectors: all, or those with the sign elected by 'sum' or 'count'."""
    weights = whole(weight)[:, None, None]
    weighted = np.stack(deltas) * weights
    taking_part = np.ones_like(weighted)
    if consensus != "none":
        votes = np.sign(weighted) if consensus == "count" else weighted
        elected = np.where(votes.sum(axis=0) >= 0, 1.0, -1.0)
        taking_part = (weighted * elected > 0).astype(float)
    divisor = (taking_part * weights).sum(axis=0)
    total = (weighted * taking_part).sum(axis=0)
    return np.asarray(total / (np.where(divisor == 0, PARTS, divisor) if normalize else PARTS))


def keep_largest(delta: Array, density: float, gamma: float = 0.0) -> Array:
    """Return which elements stay: the largest ones, after the very largest."""
    order = np.argsort(-abs(delta).ravel(), kind="stable")
    kept = int(density * delta.size)
    top = min(int(gamma * delta.size), delta.size - kept)
    mask = np.zeros(delta.size)
    mask[order[top : top + kept]] = 1.0
    return mask.reshape(delta.shape)


def chances_by_rank(delta: Array, density: float, epsilon: float) -> Array:
    """Return probabilities from density - ε for a row's smallest to density + ε (DELLA, eq. 3)."""
    ranks = abs(delta).argsort(axis=1, kind="stable").argsort(axis=1)
    return np.asarray(density - epsilon + ranks / (delta.shape[1] - 1) * 2 * epsilon)


def uniform(model: int, shape: tuple[int, ...]) -> Array:
    """Return the draws in [0, 1) that model number `model` gets from `merge_tensors`."""
    size = int(np.prod(shape))
    bits = draw_bits(philox_key((SEED, str(model), "")), 0, size)
    return (bits / 2.0**32).reshape(shape)


def sparsify(
    delta: Array, model: int, sparsifier: str, density: float, gamma: float, epsilon: float,
    rescale: object,
) -> Array:  # fmt: skip
    chances: Any = density
    if sparsifier == "rank":
        chances = chances_by_rank(delta, density, epsilon)
    if sparsifier in ("random", "rank"):
        mask = (uniform(model, delta.shape) < chances).astype(float)
    elif sparsifier == "none":
        mask = np.ones_like(delta)
    else:
        mask = keep_largest(delta, density, gamma if sparsifier == "outliers" else 0.0)
    if rescale == "paper":
        return np.asarray(delta * mask / (chances if sparsifier in ("random", "rank") else 1.0))
    factor = abs(delta).sum() / abs(delta * mask).sum() if rescale else 1.0
    return np.asarray(delta * mask * factor)


ROWS = {
    "task_arithmetic": ("none", "none", False, False),
    "ties": ("magnitude", "sum", True, False),
    "dare_linear": ("random", "none", False, True),
    "dare_ties": ("random", "sum", False, True),
    "breadcrumbs": ("outliers", "none", False, False),
    "breadcrumbs_ties": ("outliers", "sum", False, False),
    "della_linear": ("rank", "none", False, True),
    "della": ("rank", "sum", True, True),
}
"""Sparsifier, consensus, default of normalize, default of rescale: the papers' table."""


def family(
    name: str, base: Array, models: Sequence[Array], weight: Sequence[float],
    density: Sequence[float] | None = None, gamma: float = 0.01, epsilon: float = 0.15,
    lambda_: float = 1.0, **given: Any,
) -> Array:  # fmt: skip
    keys = ("sparsifier", "consensus", "normalize", "rescale")
    row = dict(zip(keys, ROWS.get(name, ("none", "none", False, False)), strict=True)) | given
    thinned = [
        sparsify(m - base, k, row["sparsifier"], d, gamma, epsilon, row["rescale"])
        for k, (m, d) in enumerate(zip(models, density or [1.0] * len(models), strict=True))
    ]
    return base + lambda_ * combine(thinned, weight, row["consensus"], row["normalize"])


# ---- the comparison


def draw(
    dtype: torch.dtype, models: int = 3, shape: tuple[int, ...] = LARGE, rms: float = 4e-3
) -> list[Tensor]:
    """Return a base and models that are small steps away from it, as fine-tuned ones are."""
    generator = torch.Generator().manual_seed(11)
    base = torch.randn(shape, generator=generator) * 0.02
    steps = [torch.randn(shape, generator=generator) * rms for _ in range(models)]
    return [base.to(dtype), *((base + step).to(dtype) for step in steps)]


def merge(name: str, tensors: Sequence[Tensor], **values: Any) -> Tensor:
    """Merge the first tensor as the base, if the method has one, with the rest."""
    if METHODS.get(name).base == "required":
        return merge_tensors(name, tensors[1:], tensors[0], seed=SEED, **values)
    return merge_tensors(name, tensors[1:], **values)


def refer(name: str, tensors: Sequence[Tensor], **values: Any) -> Array:
    """Compute the same by the formulas above."""
    base, *models = (tensor.double().numpy() for tensor in tensors)
    if name == "linear":
        return linear(models, **values)
    if name == "slerp":
        return slerp(base, models[0], **values)
    if name == "passthrough":
        return np.asarray(values["scale"] * models[0])
    return family(name, base, models, **values)


def settings(name: str, weights: Sequence[float]) -> dict[str, Any]:
    """Return settings for so many models: the given weights, densities where they are read."""
    if name == "slerp":
        return {"t": 0.3}
    if name == "passthrough":
        return {"scale": 0.37}
    found: dict[str, Any] = {"weight": list(weights)}
    if "density" in METHODS.get(name).parameters:
        found["density"] = list(DENSITIES[: len(weights)])
    return found


OWN = ["linear", "slerp", "passthrough", *ROWS]
MOST = {"slerp": 1, "passthrough": 1}
FURTHER: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"normalize": False}),
    ("slerp", {"t": 0.8}),
    ("task_arithmetic", {"normalize": True, "lambda_": 0.6}),
    ("ties", {"normalize": False, "rescale": True, "lambda_": 1.5}),
    ("breadcrumbs", {"gamma": 0.1, "rescale": True}),
    ("breadcrumbs_ties", {"normalize": True, "rescale": True, "gamma": 0.3}),
    *(
        (name, {"normalize": normalize, "rescale": rescale})
        for name in ("dare_linear", "dare_ties", "della", "della_linear")
        for normalize in (True, False)
        for rescale in (True, "paper", False)
    ),
    *(
        ("generalized_task_arithmetic", {"sparsifier": sparsifier, "consensus": consensus})
        for sparsifier in ("none", "magnitude", "random", "outliers", "rank")
        for consensus in ("none", "sum", "count")
    ),
]


def test_every_name_of_the_family_has_its_formula() -> None:
    assert sorted(ROWS) == sorted(spec.name for spec in FAMILY[1:])
    assert LARGE[0] * LARGE[1] > BLOCK


@pytest.mark.parametrize(("name", "further"), [*((name, {}) for name in OWN), *FURTHER], ids=str)
def test_float32_follows_the_formula(name: str, further: dict[str, Any]) -> None:
    count = MOST.get(name, 3)
    tensors, values = draw(torch.float32, count), settings(name, WEIGHTS[:count]) | further
    expected = refer(name, tensors, **values)
    np.testing.assert_allclose(
        merge(name, tensors, **values).numpy(), expected, rtol=2e-6, atol=1e-7
    )


def round_to(dtype: torch.dtype, values: Array) -> Array:
    """Round float64 half to even in one step; to bfloat16 that is to 8 significant bits."""
    if dtype == torch.float16:
        return values.astype(np.float16).astype(np.float64)
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 256), exponent - 8))


def share_rounded_right(name: str, tensors: list[Tensor], values: dict[str, Any]) -> float:
    dtype = tensors[0].dtype
    merged = merge(name, tensors, **values).to(dtype).double().numpy()
    return float((merged == round_to(dtype, refer(name, tensors, **values))).mean())


@pytest.mark.parametrize("rms", [1e-3, 1e-4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", OWN)
def test_half_precision_is_rounded_once(name: str, dtype: torch.dtype, rms: float) -> None:
    for count in (2, 3, 5) if name not in MOST else (1,):
        tensors = draw(dtype, count, SMALL, rms)
        for weights in (WEIGHTS[:count], ROUND[:count], (1 / count,) * count):
            values = settings(name, weights)
            assert share_rounded_right(name, tensors, values) >= 0.999, (count, weights)


@pytest.mark.parametrize(("name", "further"), FURTHER, ids=str)
def test_half_precision_is_rounded_once_whatever_the_settings(
    name: str, further: dict[str, Any]
) -> None:
    count = MOST.get(name, 3)
    for dtype in (torch.bfloat16, torch.float16):
        tensors = draw(dtype, count, SMALL, 1e-3)
        values = settings(name, WEIGHTS[:count]) | further
        assert share_rounded_right(name, tensors, values) >= 0.999, dtype


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
