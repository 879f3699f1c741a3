"""Carry out a recipe inside the parameters of a model already in memory; no file is written."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from evomerge.checkpoints.architecture import find_spelling
from evomerge.engine.models import Models
from evomerge.engine.plan import Plan, TensorPlan
from evomerge.engine.tensor import Workbench, open_result
from evomerge.engine.threads import Threads
from evomerge.errors import CheckpointError


class Resident:
    """A live model that becomes one merge after another.

    A parameter wider than the merge's dtype holds the rounded values exactly, so that a bfloat16
    merge can be run in float32 where the processor has no bfloat16 arithmetic.

    Args:
        module: a torch module; its parameters are overwritten, its dtype kept.
        models: the open source models; mapped into memory, which workers on one machine share.
        threads: how many tensors are merged side by side; torch's number if None.
    """

    def __init__(self, module: Any, models: Models, threads: int | None = None) -> None:
        self.module = module
        self._state: dict[str, Tensor] = dict(module.state_dict(keep_vars=True))
        self._prefix = f"{getattr(module, 'base_model_prefix', '')}."
        self._covered: frozenset[str] = frozenset()
        device = next((t.device.type for t in self._state.values()), "cpu")
        self._threads = Threads(
            threads or torch.get_num_threads(),
            lambda: Workbench(models, mapped=True, device="cuda" if device == "cuda" else "cpu"),
        )

    def write(self, plan: Plan) -> None:
        """Make the module the result of `plan`; the same bits as `stream` writes.

        Raises:
            CheckpointError: the plan does not fit the module, or a value is NaN or infinite.
        """
        targets = {t.name: self._target(t) for t in plan.tensors}
        self._check_coverage(targets)

        def work(tensor: TensorPlan, bench: Workbench) -> None:
            target = targets[tensor.name]
            if target is not None and target.is_floating_point():
                _fill(tensor, bench, target.detach().view(-1), self._threads.check)

        with torch.no_grad():
            for _ in self._threads.run(plan.tensors, work):
                pass

    def _target(self, tensor: TensorPlan) -> Tensor | None:
        name = tensor.name
        names = (name, self._prefix + name, name.removeprefix(self._prefix))
        spelled = next((s for n in names if (s := find_spelling(n, self._state))), None)
        if spelled is None:
            return None
        target = self._state[spelled]
        if tuple(target.shape) != tensor.shape:
            raise CheckpointError(
                f"{name} is {list(tensor.shape)} in the files, {list(target.shape)} live"
            )
        return target

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


def _fill(tensor: TensorPlan, bench: Workbench, target: Tensor, check: Callable[[], None]) -> None:
    result = open_result(tensor, bench)
    direct = target.dtype == result.dtype and target.device.type == "cpu"
    for start, length in result.extents():
        check()
        place = target[start : start + length]
        out = place if direct else bench.scratch("out").take("out", length, result.dtype)
        result.fill(start, out)
        if not direct:
            place.copy_(out)
