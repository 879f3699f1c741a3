"""NuSlerp: slerp between two models, whole tensors or row by row (Shoemake, 1985; Goddard, 2024).

https://doi.org/10.1145/325165.325242
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from evomerge.methods.spec import PerModel, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Granularity, Operands
from evomerge.tensor_ops.interpolation import Blend
from evomerge.tensor_ops.reductions import gram, row_gram

PARALLEL = 1e-12
"""Of 1 - |cos|: below, the two directions are one, or just opposite, and are blended linearly."""


def _granularity(values: Mapping[str, Any]) -> Granularity:
    by_rows = not values["nuslerp_flatten"] and not values["nuslerp_row_wise"]
    return "rows" if by_rows else "elements"


@merge_method("nuslerp", base="optional", min_models=2, max_models=2, granularity=_granularity)
def nuslerp(
    operands: Operands,
    *,
    weight: PerModel[Weight],
    nuslerp_flatten: bool = True,
    nuslerp_row_wise: bool = False,
) -> Formula:
    """Rotate from the first model to the second by w₂/(w₁ + w₂), or their task vectors.

    A tensor is one vector if `nuslerp_flatten`, else each of its rows is one (along the last
    dimension), or with `nuslerp_row_wise` each of its columns (along the first): the names are
    mergekit's. With a base the task vectors are rotated and the result is added to the base.

    Use it when you would use slerp, but with weights for both models, or on task vectors.

    Limits: two models; vectors that vanish, or that point the same or opposite ways, are blended
    linearly.

    Cost: 2 walks over the inputs; by rows 1.
    """
    total = sum(weight)
    t = weight[1] / total if total else 0.5
    deltas = operands.base is not None
    if nuslerp_flatten:
        products = torch.tensor(gram(operands, deltas=deltas), dtype=torch.float64)
        first, second = _find_factors(t, products[..., None])[:, 0].tolist()
        return Blend((first, second), deltas=deltas)
    if nuslerp_row_wise:
        return _blend_columns(t, _column_gram(operands))

    def formula(block: Block) -> Tensor:
        rows = [vector.view(-1, _width(operands)) for vector in _vectors(block)]
        factors = _find_factors(t, row_gram(rows)).to(torch.float32)
        return _add_up(rows, factors[:, :, None], block)

    return formula


def _blend_columns(t: float, products: Tensor) -> Formula:
    factors = _find_factors(t, products).to(torch.float32)

    def formula(block: Block) -> Tensor:
        places = torch.arange(block.start, block.start + len(block.spare), device=factors.device)
        return _add_up(_vectors(block), factors[:, places % factors.shape[1]], block)

    return formula


def _add_up(vectors: list[Tensor], factors: Tensor, block: Block) -> Tensor:
    merged = vectors[0].mul_(factors[0]).add_(vectors[1].mul_(factors[1])).view(-1)
    return merged if block.origin is None else merged.add_(block.origin)


def _vectors(block: Block) -> list[Tensor]:
    return block.models if block.origin is None else block.deltas()


def _column_gram(operands: Operands) -> Tensor:
    """Inner products of the vectors along the first dimension, float64, shape (n, n, columns)."""
    size = operands.shape[0] if operands.shape else 1
    flat = replace(operands, shape=(size, operands.numel // max(1, size)), granularity="rows")
    count = len(operands.models)
    products = torch.zeros(
        count, count, flat.shape[1], dtype=torch.float64, device=operands.scratch.device
    )
    for block in flat.walk():
        columns = [v.view(-1, flat.shape[1]).T.contiguous() for v in _vectors(block)]
        products += row_gram(columns)
    return products


def _find_factors(t: float, products: Tensor) -> Tensor:
    """Return slerp's factors of both vectors: inner products (2, 2, rows) to float64 (2, rows)."""
    norms = products.diagonal().T.sqrt()
    both = norms[0] * norms[1]
    cosine = (products[0, 1] / both.where(both > 0, 1.0)).where(both > 0, 1.0)
    flat = 1.0 - cosine.abs() < PARALLEL
    angle = cosine.where(~flat, 0.0).arccos()
    shares = torch.tensor([1.0 - t, t], dtype=torch.float64, device=products.device)[:, None]
    return ((shares * angle).sin() / angle.sin()).where(~flat, shares)


def _width(operands: Operands) -> int:
    return operands.shape[-1] if operands.shape else 1
