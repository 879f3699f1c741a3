"""Native kernels: blends, elections, sums and histograms in one pass, straight from kept dtypes.

The torch form is the reference and gives the same bits; it computes wherever these answer None:
they are not built or switched off, a dtype is not float32, bfloat16 or float16, a tensor is not on
the CPU or not contiguous.
"""

from collections.abc import Sequence
from ctypes import byref, c_double, c_float
from functools import lru_cache
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evomerge.tensor_ops import native_library as native
from evomerge.tensor_ops.blocks import Operands, Views
from evomerge.tensor_ops.mask_bits import ALL_DRAWS, SHORTEST_ROW, can_draw, mask_bits
from evomerge.tensor_ops.native_library import DTYPES, Kernels, Values, as_value, as_words
from evomerge.tensor_ops.philox import philox_key
from evomerge.tensor_ops.ranked_chances import RankedChances

if TYPE_CHECKING:
    from evomerge.tensor_ops.consensus import Election, RandomMask, Thinning
    from evomerge.tensor_ops.interpolation import Blend
    from evomerge.tensor_ops.quantile import MagnitudeCut

CONSENSUS = {"none": 0, "sum": 1, "count": 2, "plain": 3}


def blend(formula: "Blend", views: Views, out: Tensor) -> bool | None:
    """Write the result for one block, rounded once to the dtype of `out`.

    Args:
        formula: what to compute.
        views: float32, bfloat16 or float16 in any mixture, 1-D, of one length.
        out: of the same length, any of these dtypes; none of `views`.

    Returns:
        Whether every result is finite after rounding; None where torch has to compute.
    """
    kernels = native.current()
    own = () if formula.deltas or formula.base is None else (formula.base,)
    origin = _some(views.base) if formula.deltas or own else []
    operands, factors = [*origin, *views.models], (*own, *formula.factors)
    matched = len(operands) == len(factors) + formula.deltas and _fit(out, *operands)
    if kernels is None or not matched:
        return None
    call = native.Blend(
        operands=_values(operands),
        factors=(c_float * len(factors))(*factors),
        out=as_value(out),
        length=len(out),
        count=len(operands),
        deltas=formula.deltas,
        divisor=formula.divisor,
        scale=formula.scale,
    )
    return bool(kernels.blend(byref(call)))


def elect(formula: "Election", views: Views, out: Tensor) -> bool | None:
    """Write the result for one block, as `blend` does; None, too, for masks only torch draws."""
    kernels = native.current()
    if kernels is None or views.base is None or not _fit(out, views.base, *views.models):
        return None
    if len(formula.thinnings) != len(views.models):
        return None
    encoded = _encode_all(formula.thinnings, formula.weights, views)
    if encoded is None:
        return None
    thinnings, _masks = encoded
    call = native.Election(
        models=_values(views.models),
        thinnings=thinnings,
        base=as_value(views.base),
        out=as_value(out),
        start=views.start,
        length=len(out),
        count=len(views.models),
        consensus=CONSENSUS[formula.consensus],
        normalize=formula.normalize,
        divisor=formula.divisor,
        scale=formula.scale,
    )
    return bool(kernels.elect(byref(call)))


def gram(operands: Operands, *, deltas: bool) -> list[list[float]] | None:
    """Inner products in one walk: of operand i with every j ≤ i, zero elsewhere.

    With `deltas` of task vectors; otherwise of the models and, last, the base if there is one.
    """
    kernels = kernels_for(operands)
    if kernels is None or (deltas and operands.base is None):
        return None
    count = len(operands.models) + (operands.base is not None and not deltas)
    sums = (c_double * (count * count))()
    for views in operands.views():
        vectors = views.models if deltas else [*views.models, *_some(views.base)]
        assert _fit(*vectors, *_some(views.base)), "operands have one shape"
        origin = as_value(views.base if deltas else None)
        kernels.add_products(_values(vectors), count, byref(origin), len(vectors[0]), sums)
    return [list(sums[i * count : (i + 1) * count]) for i in range(count)]


def norms(one: Operands, thinning: "Thinning") -> tuple[float, float] | None:
    """L1 norms of the only model's task vector, before and after it is thinned out."""
    kernels = kernels_for(one)
    if kernels is None or one.base is None:
        return None
    sums = (c_double * 2)()
    for views in one.views():
        encoded = _encode_all([thinning], [1.0], views, keep=True)
        if encoded is None:
            return None
        model, base, length = as_pair(views)
        kernels.add_norms(encoded[0], byref(model), byref(base), views.start, length, sums)
    return sums[0], sums[1]


def thin_by_rank_(delta: Tensor, mask: "RandomMask", start: int) -> bool:
    """Zero in place what a mask with chances by rank drops; False where torch has to."""
    kernels, chances = native.current(), mask.chances
    if not isinstance(chances, RankedChances) or chances.width < SHORTEST_ROW:
        return False
    if kernels is None or not _fit(delta):
        return False
    steps, limits = chances.steps(torch.device("cpu")), chances.limits()
    kernels.thin_by_rank(
        delta.data_ptr(),
        start,
        delta.numel(),
        chances.width,
        limits.data_ptr(),
        steps.data_ptr() if mask.divide else None,
        as_words(philox_key(mask.key)),
    )
    return True


def draw(key: bytes, start: int, length: int) -> npt.NDArray[np.uint32] | None:
    """32-bit numbers [start, start + length) of the stream of `key`, as `draw_bits`."""
    kernels = native.current()
    if kernels is None:
        return None
    drawn = np.empty(length, np.uint32)
    kernels.draw(as_words(key), start, length, drawn.ctypes.data)
    return drawn


def kernels_for(operands: Operands) -> Kernels | None:
    """Return the kernels if they can read all operands: a look at none of the elements tells."""
    sources = [*operands.models, *([operands.base] if operands.base else [])]
    kernels = native.current()
    return kernels if kernels and _fit(*(source.view(0, 0) for source in sources)) else None


def _fit(*tensors: Tensor) -> bool:
    return all(
        t.dtype in DTYPES
        and t.device.type == "cpu"
        and t.stride() == (1,)
        and t.numel() == tensors[0].numel()  # len is slow
        for t in tensors
    )


def _some(base: Tensor | None) -> list[Tensor]:
    return [] if base is None else [base]


def as_pair(views: Views) -> tuple[Values, Values, int]:
    """Return where the only model and the base are, and how many elements they have."""
    assert views.base is not None
    assert _fit(views.models[0], views.base), "operands have one shape"
    return as_value(views.models[0]), as_value(views.base), views.base.numel()


def _values(tensors: Sequence[Tensor]) -> Any:
    return (Values * len(tensors))(*(as_value(tensor) for tensor in tensors))


def _encode_all(
    thinnings: "Sequence[Thinning]", weights: Sequence[float], views: Views, *, keep: bool = False
) -> tuple[Any, list[Tensor]] | None:
    """Write down the models' parts in an election; None where the kernels cannot compute it.

    Args:
        thinnings: one per model.
        weights: one per model.
        views: the block they are for.
        keep: whether drawn masks are kept for the next time.

    Returns:
        The parts, and what they point at.
    """
    encoded, masks = (native.Thinning * len(thinnings))(), []
    for i, (thinning, weight) in enumerate(zip(thinnings, weights, strict=True)):
        mask = thinning.mask
        if mask and not can_draw(mask, views, alone=not (thinning.floor or thinning.ceiling)):
            return None
        bits = mask_bits(mask, views, i, keep=keep) if mask else None
        encoded[i] = _encode(thinning.floor, thinning.ceiling, *_draws(mask))
        encoded[i].factor, encoded[i].weight = thinning.factor, weight
        if bits is not None:
            encoded[i].kept, encoded[i].first = bits.data_ptr(), views.start
            masks.append(bits)
    return encoded, masks


def _draws(mask: "RandomMask | None") -> tuple[tuple[int, str, str] | None, int]:
    """Return of which stream a mask is, and the limit of its numbers; None where all are kept."""
    if mask is None or mask.chances or mask.density >= 1.0:
        return None, ALL_DRAWS
    return mask.key, int(mask.density * ALL_DRAWS)


@lru_cache(maxsize=1024)
def _encode(
    floor: "MagnitudeCut | None",
    ceiling: "MagnitudeCut | None",
    key: tuple[int, str, str] | None,
    limit: int,
) -> native.Thinning:
    """Write down what is left; not factors, as 0.0 and -0.0 are one key of a cache."""
    return native.Thinning(
        floor=_cut(floor, otherwise=-1.0),
        ceiling=_cut(ceiling, otherwise=nan),
        key=as_words(philox_key(key)) if key else (0, 0),
        limit=limit,
    )


def _cut(cut: "MagnitudeCut | None", otherwise: float) -> native.Cut:
    """Write down a cut: beyond its last equal it keeps from the next larger number on."""
    if cut is None:
        return native.Cut(otherwise, otherwise, 0)
    threshold = np.float32(cut.threshold)
    with np.errstate(all="ignore"):
        larger = nan if threshold == inf else float(np.nextafter(threshold, np.float32(inf)))
    return native.Cut(float(threshold), larger, cut.last_equal)
