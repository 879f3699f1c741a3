"""Blending task vectors: plain sums, and sums over those that agree on a sign."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evomerge.tensor_ops.interpolation import weighted_sum


def blend_deltas(
    deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool, out: Tensor
) -> Tensor:
    """Write Σ wᵢ·δᵢ (divided by Σ wᵢ when `normalize`) into `out`; overwrites `deltas`.

    A weight sum of zero, with `normalize`, gives zeros.
    """
    weighted_sum(deltas, weights, out)
    if not normalize:
        return out
    total = sum(weights)
    return out.div_(total) if total else out.zero_()


def blend_agreeing(
    deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool, out: Tensor
) -> Tensor:
    """Elect a sign per element and sum the weighted deltas that have it (Yadav et al., 2023).

    γ = sign(Σ wᵢδᵢ), with +1 for zero; out = Σ_{sign(wᵢδᵢ)=γ} wᵢδᵢ, divided by the weights of
    those that agree when `normalize`. Overwrites `deltas`.
    """
    weighted_sum(deltas, weights, out)
    positive = out >= 0
    shares = torch.zeros_like(out) if normalize else None
    out.zero_()
    for weighted, weight in zip(deltas, weights, strict=True):
        agrees = torch.where(positive, weighted > 0, weighted < 0)
        out.add_(weighted.mul_(agrees))
        if shares is not None:
            shares.add_(agrees, alpha=weight)
    if shares is not None:
        out.div_(shares.masked_fill_(shares == 0, 1.0))
    return out
