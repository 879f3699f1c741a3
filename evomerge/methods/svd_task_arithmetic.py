"""CycleQD's SVD-based mutation of task vectors (Kuroki et al., 2024).

https://arxiv.org/abs/2410.14735
"""

from typing import Annotated

import torch
from torch import Tensor

from evomerge.methods.spec import PerModel, Range, Search, Weight, merge_method
from evomerge.tensor_ops.blocks import Block, Formula, Operands
from evomerge.tensor_ops.interpolation import Blend, as_fractions, weighted_sum
from evomerge.tensor_ops.philox import PLANES, draw_bits, philox_key
from evomerge.tensor_ops.spectral import column_gram, decompose, slabs, smaller_side, upright

Rate = Annotated[float, Range(0.0, 100.0), Search(0.0, 0.2)]
Seed = Annotated[float, Range(0.0, 2.0**31), Search(0.0, 63.0, whole=True)]


@merge_method(
    "svd_task_arithmetic",
    base="required",
    zero_gives_base=True,
    random=True,
    granularity="tensor",
)
def svd_task_arithmetic(
    operands: Operands, *, weight: PerModel[Weight], rate: Rate = 0.1, svd_seed: Seed = 0
) -> Formula:
    """Add the weighted sum of task vectors, their singular values enlarged at random.

    A task vector that is a matrix UΣVᵀ becomes UΣ(1 + rate·D)Vᵀ, with one number of the diagonal D
    per direction, uniform in [0, 1), drawn for this `svd_seed` (a whole number), model and tensor;
    then it is weighted and added to the base, as in task arithmetic. Vectors stay as they are;
    tensors of more dimensions are matrices (first, rest). With `rate` 0 it is task_arithmetic, in
    the same bits.

    Use it as the mutation of a search: the change keeps to the directions in which a task vector
    lies already, where noise in the weights would leave them. Every `svd_seed` is another change.

    Limits: alone it improves nothing; the change grows the task vectors by rate/2 on average.

    Cost: 1 walk over the inputs, with whole tensors in memory: 4 bytes per element and operand, and
    about 40·n² bytes, n being the smaller dimension. One eigenvalue problem of size n per model
    with a weight.
    """
    if not rate or not smaller_side(operands.shape):
        weights, divisor = as_fractions(weight)
        return Blend(weights, deltas=True, divisor=divisor)

    def formula(block: Block) -> Tensor:
        deltas = block.deltas()
        for i, delta in enumerate(deltas):
            if weight[i]:
                _stretch(upright(delta, operands.shape), rate, _key(operands, i, int(svd_seed)))
        return weighted_sum(deltas, weight, block.spare).add_(block.base)

    return formula


def _stretch(matrix: Tensor, rate: float, key: bytes) -> None:
    """Turn UΣVᵀ into UΣ(1 + rate·D)Vᵀ in place: it is A + A·V(rate·D)Vᵀ, so that no U is needed."""
    _, right = decompose(column_gram(rows for _, (rows,) in slabs(matrix)))
    drawn = draw_bits(key, 0, right.shape[1]) / 2.0**PLANES
    change = (right * (rate * torch.from_numpy(drawn)).to(right)) @ right.T
    for place, (rows,) in slabs(matrix):
        matrix[place] = rows.addmm(rows, change)


def _key(operands: Operands, model: int, seed: int) -> bytes:
    merge_seed, contents, tensor = operands.mask_key(model)
    return philox_key((merge_seed, f"{contents} stretched {seed}", tensor))
