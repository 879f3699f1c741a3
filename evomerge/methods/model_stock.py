"""Model Stock: how far to go from the base towards the average (Jang et al., 2024).

https://arxiv.org/abs/2403.19522
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from evomerge.methods.spec import merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Granularity, Operands
from evomerge.tensor_ops.interpolation import Blend, weighted_sum
from evomerge.tensor_ops.reductions import gram, row_gram

SINGULAR = 1e-6
"""Of 1 + (N-1)·cos θ: below, the models oppose each other and there is no estimate."""


def _granularity(values: Mapping[str, Any]) -> Granularity:
    return "rows" if values["filter_wise"] else "elements"


@merge_method("model_stock", base="required", min_models=2, granularity=_granularity)
def model_stock(operands: Operands, *, filter_wise: bool = False) -> Formula:
    """Average the models and pull the average back to the base as far as their angles say.

    θ = t·mean + (1-t)·base with t = N·cos θ / (1 + (N-1)·cos θ), where cos θ is the mean cosine
    between the task vectors of a tensor, or with `filter_wise` of each row of it. There is no
    other parameter.

    Use it when the models are fine-tunes of one base on much the same data, and no budget to tune
    weights: task vectors that agree are kept, those at right angles count as noise.

    Limits: models trained for different tasks have nearly orthogonal task vectors, so that little
    is left of them.

    Cost: 2 walks over the inputs; with `filter_wise` 1.
    """
    count = len(operands.models)
    if not filter_wise:
        products = torch.tensor(gram(operands, deltas=True), dtype=torch.float64)
        ratio = float(_find_ratio(products[..., None])[0])
        return Blend((1.0,) * count, deltas=True, divisor=count, scale=ratio)

    def formula(block: Block) -> Tensor:
        rows = [delta.view(-1, _width(operands)) for delta in block.deltas()]
        ratios = _find_ratio(row_gram(rows)).to(torch.float32)
        merged = weighted_sum(block.models, [1.0] * count, block.spare).div_(count)
        merged.view_as(rows[0]).mul_(ratios[:, None])
        return merged.add_(block.base)

    return formula


def _find_ratio(products: Tensor) -> Tensor:
    """Return t (eq. 3) from inner products of task vectors, shape (n, n, rows): shape (rows,)."""
    size = len(products)
    norms = products.diagonal().T.sqrt()
    pairs = []
    for i, j in combinations(range(size), 2):
        both = norms[i] * norms[j]
        cosine = products[i, j] / both.where(both > 0, 1.0)
        pairs.append(cosine.where(both > 0, 0.0).clamp(-1.0, 1.0))
    cosine = torch.stack(pairs).sum(dim=0) / len(pairs)
    divisor = 1.0 + (size - 1) * cosine
    singular = divisor.abs() < SINGULAR
    return (size * cosine / divisor.where(~singular, 1.0)).where(~singular, 0.0)


def _width(operands: Operands) -> int:
    return operands.shape[-1] if operands.shape else 1
