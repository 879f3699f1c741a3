"""Merge methods: the table of contents. A method is one file and one line here.

`merge_tensors("ties", [a, b], base=c, weight=0.5, density=0.2)` merges plain tensors; recipes
reach the same formulas through `evomerge.engine`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from evomerge.methods import (
    arcee_fusion,
    generalized_task_arithmetic,
    isotropic,
    karcher,
    linear,
    lines,
    model_stock,
    multislerp,
    nearswap,
    nuslerp,
    passthrough,
    ram,
    sce,
    slerp,
    svd_task_arithmetic,
    tsv_m,
)
from evomerge.methods.spec import METHODS, MethodSpec, PerModel, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands, gather

METHODS.register("linear", linear.linear)
METHODS.register("slerp", slerp.slerp)
METHODS.register("nuslerp", nuslerp.nuslerp)
METHODS.register("multislerp", multislerp.multislerp)
METHODS.register("karcher", karcher.karcher)
for _spec in generalized_task_arithmetic.FAMILY:
    METHODS.register(_spec.name, _spec)
METHODS.register("lines", lines.lines)
METHODS.register("sce", sce.sce)
METHODS.register("model_stock", model_stock.model_stock)
METHODS.register("nearswap", nearswap.nearswap)
METHODS.register("arcee_fusion", arcee_fusion.arcee_fusion)
METHODS.register("ram", ram.ram)
METHODS.register("ramplus_tl", ram.ramplus_tl)
METHODS.register("tsv_m", tsv_m.tsv_m)
METHODS.register("iso_c", isotropic.iso_c)
METHODS.register("iso_cts", isotropic.iso_cts)
METHODS.register("svd_task_arithmetic", svd_task_arithmetic.svd_task_arithmetic)
METHODS.register("passthrough", passthrough.passthrough)


def merge_tensors(
    method: str | MethodSpec,
    tensors: Sequence[Tensor],
    base: Tensor | None = None,
    *,
    seed: int = 0,
    depth: float = 0.0,
    name: str = "",
    keys: Sequence[str] = (),
    **values: Any,
) -> Tensor:
    """Merge tensors of one shape; returns float32 of that shape.

    Args:
        method: a registered name, or a method of your own.
        tensors: the models' tensors, without the base; any floating dtype.
        base: the base model's tensor, where the method needs one (or makes use of one).
        seed: of random masks.
        depth: of the tensor's layer, 0 for the first to 1 for the last.
        name: the tensor's name, of which random masks are a function.
        keys: an identity per model, as above; by default their places.
        values: the method's parameters; a per-model one may be a single number.

    Raises:
        UnknownName: no such method.
        ValueError: tensors or values that the method does not take.
    """
    spec = method if isinstance(method, MethodSpec) else METHODS.get(method)
    _check_tensors(spec, tensors, base)
    settled = spec.settle(values, len(tensors))
    _check_weights(spec, settled)
    granularity = spec.granularity_for(settled)
    identity = {"seed": seed, "name": name, "keys": tuple(keys)}
    operands = gather(tensors, base, depth=depth, granularity=granularity, **identity)
    formula = spec.bind(operands, settled)
    out = torch.empty(operands.numel)
    for block in operands.walk():
        out[block.start : block.start + len(block.spare)] = formula(block)
    return out.view(operands.shape)


def _check_tensors(spec: MethodSpec, tensors: Sequence[Tensor], base: Tensor | None) -> None:
    if spec.base != "optional" and (base is not None) != (spec.base == "required"):
        raise ValueError(f"{spec.name} {'needs a' if base is None else 'takes no'} base tensor")
    least, most = spec.min_models, spec.max_models
    if not least <= len(tensors) <= (most or math.inf):
        wanted = f"{least}" if most == least else f"{least} to {most or 'any number of'}"
        raise ValueError(f"{spec.name} takes {wanted} tensors besides a base, not {len(tensors)}")
    shapes = {tuple(t.shape) for t in (*tensors, *([] if base is None else [base]))}
    if len(shapes) > 1:
        raise ValueError(f"the tensors differ in shape: {', '.join(map(str, sorted(shapes)))}")


def _check_weights(spec: MethodSpec, settled: Mapping[str, Any]) -> None:
    """Refuse weights that cancel where their sum divides; with a base that is the answer."""
    if not settled.get("normalize") or spec.zero_gives_base:
        return
    weights = settled["weight"]
    if abs(math.fsum(weights)) <= 1e-9 * math.fsum(map(abs, weights)):
        raise ValueError(f"{spec.name} cannot normalize weights that sum to zero")


__all__ = [
    "METHODS",
    "Formula",
    "MethodSpec",
    "Operands",
    "PerModel",
    "merge_method",
    "merge_tensors",
]
