"""Merge methods: the table of contents. A method is one file and one line here.

`merge_tensors("ties", [a, b], base=c, weight=0.5, density=0.2)` merges plain tensors; recipes
reach the same formulas through `evomerge.engine`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evomerge.methods import dare, linear, passthrough, slerp, task_arithmetic, ties
from evomerge.methods.spec import METHODS, MethodSpec, PerModel, merge_method
from evomerge.tensor_ops.blocks import Formula, Operands, gather

METHODS.register("linear", linear.linear)
METHODS.register("slerp", slerp.slerp)
METHODS.register("task_arithmetic", task_arithmetic.task_arithmetic)
METHODS.register("ties", ties.ties)
METHODS.register("dare_linear", dare.dare_linear)
METHODS.register("dare_ties", dare.dare_ties)
METHODS.register("passthrough", passthrough.passthrough)


def merge_tensors(
    method: str,
    tensors: Sequence[Tensor],
    base: Tensor | None = None,
    *,
    seed: int = 0,
    **values: Any,
) -> Tensor:
    """Merge tensors of one shape; returns float32 of that shape.

    Args:
        method: a registered name.
        tensors: the models' tensors, without the base; any floating dtype.
        base: the base model's tensor, where the method needs one.
        seed: of random masks.
        values: the method's parameters; a per-model one may be a single number.
    """
    spec = METHODS.get(method)
    settled = {
        name: _per_model(values.get(name, parameter.default), len(tensors))
        if parameter.per_model
        else values.get(name, parameter.default)
        for name, parameter in spec.parameters.items()
    }
    operands = gather(tensors, base, seed=seed)
    formula = spec.bind(operands, settled)
    out = torch.empty(operands.numel)
    for block in operands.walk():
        out[block.start : block.start + len(block.spare)] = formula(block)
    return out.view(operands.shape)


def _per_model(value: Any, count: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count


__all__ = [
    "METHODS",
    "Formula",
    "MethodSpec",
    "Operands",
    "PerModel",
    "merge_method",
    "merge_tensors",
]
