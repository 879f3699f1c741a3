"""Carry out a recipe inside the parameters of a model already in memory; no file is written."""

from typing import Any

import torch
from torch import Tensor

from evomerge.engine.models import Models
from evomerge.engine.plan import NAMES, Plan, TensorPlan
from evomerge.engine.tensor import Workbench, merge_tensor
from evomerge.errors import CheckpointError
from evomerge.tensor_ops.blocks import BLOCK


class Resident:
    """A live model that becomes one merge after another.

    A parameter wider than the merge's dtype holds the rounded values exactly, so that a bfloat16
    merge can be run in float32 where the processor has no bfloat16 arithmetic.

    Args:
        module: a torch module; its parameters are overwritten, its dtype kept.
        models: the open source models.
        bench: buffers; made if absent.
    """

    def __init__(self, module: Any, models: Models, bench: Workbench | None = None) -> None:
        self.module = module
        self.models = models
        self.bench = bench or Workbench()
        self._state: dict[str, Tensor] = dict(module.state_dict(keep_vars=True))
        self._prefix = f"{getattr(module, 'base_model_prefix', '')}."
        self._covered: frozenset[str] = frozenset()
        self._rounded: dict[torch.dtype, Tensor] = {}

    def write(self, plan: Plan) -> None:
        """Make the module the result of `plan`; the same bits as `stream` writes.

        Raises:
            CheckpointError: the plan does not fit the module, or a value is NaN or infinite.
        """
        targets = {t.name: self._target(t) for t in plan.tensors}
        self._check_coverage(targets)
        with torch.no_grad():
            for tensor in plan.tensors:
                target = targets[tensor.name]
                if target is not None and not tensor.copied:
                    self._fill(tensor, plan, target)

    def _fill(self, tensor: TensorPlan, plan: Plan, target: Tensor) -> None:
        flat = target.detach().view(-1)
        dtype = getattr(torch, NAMES[tensor.dtype])
        rounded = None if dtype == flat.dtype else self._rounding(dtype)

        def sink(start: int, block: Tensor) -> None:
            if rounded is not None:
                block = rounded[: len(block)].copy_(block)
            flat[start : start + len(block)].copy_(block)

        merge_tensor(tensor, plan, self.models, self.bench, sink)

    def _rounding(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._rounded:
            self._rounded[dtype] = torch.empty(BLOCK, dtype=dtype)
        return self._rounded[dtype]

    def _target(self, tensor: TensorPlan) -> Tensor | None:
        name = tensor.name
        for spelling in (name, self._prefix + name, name.removeprefix(self._prefix)):
            if spelling in self._state:
                target = self._state[spelling]
                if tuple(target.shape) != tensor.shape:
                    raise CheckpointError(
                        f"{name} is {list(tensor.shape)} in the files, {list(target.shape)} live"
                    )
                return target
        return None

    def _check_coverage(self, targets: dict[str, Tensor | None]) -> None:
        """Every parameter must be written, else the last candidate would shine through."""
        names = frozenset(targets)
        if names == self._covered:
            return
        written = {target.data_ptr() for target in targets.values() if target is not None}
        parameters = dict(self.module.named_parameters())
        forgotten = [n for n, p in parameters.items() if p.data_ptr() not in written]
        if forgotten:
            raise CheckpointError(
                f"the merge has no tensor for {len(forgotten)} parameters of the live model, "
                f"such as {forgotten[0]}",
                "This checkpoint layout is not supported in memory; `evomerge merge` writes it",
            )
        self._covered = names
