"""Task vectors thinned out, then combined: by a plain sum, or by those that agree on a sign."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from evomerge.tensor_ops import kernels
from evomerge.tensor_ops.blocks import Block, Operands, Views
from evomerge.tensor_ops.interpolation import divide_, nonzero_sum, weighted_sum
from evomerge.tensor_ops.quantile import MagnitudeCut
from evomerge.tensor_ops.random_mask import keep_mask
from evomerge.tensor_ops.reductions import fixed_order_sum

Consensus = Literal["none", "sum", "count"]
Votes = Literal["none", "sum", "count", "plain"]
Chances = Callable[[Tensor], Tensor]
"""A block of a task vector to each element's probability of being kept, float32."""


@dataclass(frozen=True, slots=True)
class RandomMask:
    """Elements kept by chance: with probability `density`, or as `chances` says of each.

    Attributes:
        key: what the draws are a function of, as in `keep_mask`.
        density: probability of keeping, in [0, 1].
        chances: each element's own probability instead; None where all share `density`.
        divide: whether what is kept is divided by its own probability.
        drawn: bits of blocks that were drawn before, by start and length; a mask is drawn once, and
            one with `chances` stands for one task vector.
    """

    key: tuple[int, str, str]
    density: float
    chances: Chances | None = None
    divide: bool = False
    drawn: dict[tuple[int, int], Tensor] = field(default_factory=dict, compare=False, repr=False)

    def apply_(self, delta: Tensor, start: int) -> Tensor:
        """Zero what is dropped, in place; `start` is the first element's index."""
        if kernels.thin_by_rank_(delta, self, start):
            return delta
        chances = self.chances(delta) if self.chances else self.density
        kept = keep_mask(self.key, start, len(delta), chances, device=delta.device)
        if self.divide and isinstance(chances, Tensor):
            delta.div_(chances)
        return delta.mul_(kept)


@dataclass(frozen=True, slots=True)
class Thinning:
    """What is left of one task vector: magnitudes within a band, a random share, a factor.

    Attributes:
        floor: what is smaller is dropped; None keeps all.
        ceiling: what it would keep is dropped: outliers; None keeps all.
        mask: what chance leaves; None keeps all.
        factor: multiplies the rest.
    """

    floor: MagnitudeCut | None = None
    ceiling: MagnitudeCut | None = None
    mask: RandomMask | None = None
    factor: float = 1.0

    @property
    def changes_nothing(self) -> bool:
        """Whether the task vector stays as it is."""
        return self == Thinning()

    def apply_(self, delta: Tensor, start: int) -> Tensor:
        """Thin out a block of a task vector in place; `start` is its first element's index."""
        outliers = self.ceiling.keeps(delta, start) if self.ceiling else None
        if self.floor:
            delta.mul_(self.floor.keeps(delta, start))
        if outliers is not None:
            delta.mul_(outliers.logical_not_())
        if self.mask:
            self.mask.apply_(delta, start)
        return delta.mul_(self.factor) if self.factor != 1.0 else delta


def thinned_norms(one: Operands, thinning: Thinning) -> tuple[float, float]:
    """L1 norms of the only model's task vector, before and after it is thinned out."""
    norms = kernels.norms(one, thinning)
    if norms is not None:
        return norms
    before = after = 0.0
    for block in one.walk():
        delta = block.deltas()[0]
        before = fixed_order_sum(delta.abs(), before)
        after = fixed_order_sum(thinning.apply_(delta, block.start).abs_(), after)
    return before, after


@dataclass(frozen=True, slots=True)
class Election:
    """The formula of the task-arithmetic family: θ₀ + scale · consensus of wᵢ·thinᵢ(θᵢ - θ₀).

    'none' sums all; 'sum' elects per element the sign of the weighted sum, 'count' the sign most
    models have (+ where they tie), and sums those that have it (Yadav et al., 2023, eq. 1-2);
    'plain' elects the sign of the sum before it is weighted (Wan et al., 2024).
    With `normalize` the sum is divided by the weights of those that took part (where these add up
    to zero, by 1). Rounded to float32 after every operation, models in their order.

    Attributes:
        weights: one per model.
        thinnings: one per model.
        consensus: how signs are elected.
        normalize: whether to divide.
        scale: λ.
    """

    weights: tuple[float, ...]
    thinnings: tuple[Thinning, ...]
    consensus: Votes
    normalize: bool
    scale: float = 1.0

    def __call__(self, block: Block) -> Tensor:
        """Return the float32 result for one block."""
        deltas = block.deltas()
        for delta, thinning in zip(deltas, self.thinnings, strict=True):
            thinning.apply_(delta, block.start)
        merged = self._combine(deltas, block.spare)
        return merged.mul_(self.scale).add_(block.base)

    def write(self, views: Views, out: Tensor) -> bool | None:
        """Write the result in the dtype of `out`, the same bits, by native kernels.

        Returns:
            Whether all of it is finite after rounding; None where the kernels do not apply, and
            `out` is as it was.
        """
        return kernels.elect(self, views, out)

    @property
    def divisor(self) -> float:
        """What a plain sum is divided by."""
        plain = self.consensus == "none" and self.normalize
        return nonzero_sum(self.weights) if plain else 1.0

    def _combine(self, deltas: Sequence[Tensor], out: Tensor) -> Tensor:
        if self.consensus == "none":
            return divide_(weighted_sum(deltas, self.weights, out), self.divisor)
        votes = self.consensus
        return blend_agreeing(deltas, self.weights, normalize=self.normalize, votes=votes, out=out)


def blend_agreeing(
    deltas: Sequence[Tensor],
    weights: Sequence[float],
    *,
    normalize: bool,
    votes: Votes = "sum",
    out: Tensor,
) -> Tensor:
    """Elect a sign per element and sum the weighted deltas that have it (Yadav et al., 2023).

    γ = sign(Σ wᵢδᵢ), by 'count' sign(Σ sign(wᵢδᵢ)), by 'plain' sign(Σ δᵢ), +1 for zero;
    out = Σ_{sign(wᵢδᵢ)=γ} wᵢδᵢ, divided by the weights of those that agree when `normalize`;
    by 'plain' it is sign(δᵢ) that has to agree. Overwrites `deltas`.
    """
    plain = votes == "plain"
    weighted_sum(deltas, [1.0] * len(weights) if plain else weights, out)
    count = torch.stack([delta.sign() for delta in deltas]).sum(dim=0) if votes == "count" else out
    positive = count >= 0
    shares = torch.zeros_like(out) if normalize else None
    out.zero_()
    for weighted, weight in zip(deltas, weights, strict=True):
        agrees = torch.where(positive, weighted > 0, weighted < 0)
        out.add_((weighted.mul_(weight) if plain else weighted).mul_(agrees))
        if shares is not None:
            shares.add_(agrees, alpha=weight)
    if shares is not None:
        out.div_(shares.masked_fill_(shares == 0, 1.0))
    return out
