"""One tensor's merge: read blocks, apply the formula, hand float32 blocks to a sink."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.checkpoints.reader import ITEM_BYTES, Checkpoint, Entry
from evomerge.engine.models import Models
from evomerge.engine.plan import NAMES, Input, Plan, TensorPlan
from evomerge.errors import CheckpointError
from evomerge.tensor_ops.blocks import BLOCK, Operands, Scratch

Sink = Callable[[int, Tensor], None]
"""Takes (index of the first element, float32 block); the block is overwritten afterwards."""

LARGEST_HALF = 65504.0


class Workbench:
    """Buffers for merging, allocated once."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.raw = torch.empty(BLOCK * 8, dtype=torch.uint8)
        self.bytes = self.raw.numpy().data


@dataclass(frozen=True, slots=True)
class FileBlocks:
    """A tensor on disk, read block by block as float32."""

    checkpoint: Checkpoint
    entry: Entry
    bench: Workbench

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.entry.numel

    def read(self, start: int, out: Tensor) -> None:
        """Fill `out` with elements [start, start + len(out)) as float32."""
        width = ITEM_BYTES[self.entry.dtype]
        size = len(out) * width
        self.checkpoint.read_into(self.entry, start * width, self.bench.bytes[:size])
        out.copy_(self.bench.raw[:size].view(getattr(torch, NAMES[self.entry.dtype])))


def merge_tensor(
    tensor: TensorPlan, plan: Plan, models: Models, bench: Workbench, sink: Sink
) -> None:
    """Merge one tensor, block by block, in float32.

    Args:
        tensor: what to merge; not a copied one.
        plan: the plan it is part of.
        models: open models.
        bench: buffers.
        sink: gets every block of the result once, in order.

    Raises:
        CheckpointError: an input or the result is NaN or infinite.
    """
    operands = Operands(
        models=tuple(FileBlocks(models[i.model], i.entry, bench) for i in tensor.inputs),
        base=_base_blocks(tensor.base, models, bench),
        shape=tensor.shape,
        keys=tuple(models[i.model].fingerprint for i in tensor.inputs) if plan.spec.random else (),
        name=tensor.name,
        seed=plan.seed,
        scratch=bench.scratch,
    )
    formula = plan.spec.bind(operands, tensor.values)
    for block in operands.walk():
        result = formula(block)
        if not math.isfinite(float(result.sum())):
            _refuse_nonfinite(result, tensor, models, bench)
        if tensor.dtype == "F16" and float(result.abs().max()) > LARGEST_HALF:
            raise CheckpointError(
                f"{tensor.name} overflows float16 in this merge", "Set dtype: bfloat16 or float32"
            )
        sink(block.start, result)


def find_nonfinite(checkpoint: Checkpoint, bench: Workbench) -> tuple[str, int] | None:
    """Return name and count of the first tensor that holds NaN or infinity, else None."""
    for entry in checkpoint.entries.values():
        if entry.dtype in NAMES and (count := _count_nonfinite(checkpoint, entry, bench)):
            return entry.name, count
    return None


def nonfinite_error(model: str, tensor: str, count: int) -> CheckpointError:
    """Describe a model whose weights are not numbers."""
    values = f"{count} NaN or infinite value{'s' if count != 1 else ''}"
    return CheckpointError(
        f"{model} has {values} in tensor {tensor}", "Fetch the model again, or leave it out"
    )


def _base_blocks(base: Input | None, models: Models, bench: Workbench) -> FileBlocks | None:
    return FileBlocks(models[base.model], base.entry, bench) if base else None


def _count_nonfinite(checkpoint: Checkpoint, entry: Entry, bench: Workbench) -> int:
    operands = Operands(
        (FileBlocks(checkpoint, entry, bench),), None, entry.shape, scratch=bench.scratch
    )
    count = 0
    for block in operands.walk():
        if not math.isfinite(float(block.models[0].sum())):
            count += int((~torch.isfinite(block.models[0])).sum())
    return count


def _refuse_nonfinite(result: Tensor, tensor: TensorPlan, models: Models, bench: Workbench) -> None:
    if bool(torch.isfinite(result).all()):
        return  # only the sum overflowed
    for part in (*tensor.inputs, *([tensor.base] if tensor.base else [])):
        if count := _count_nonfinite(models[part.model], part.entry, bench):
            raise nonfinite_error(part.model, part.entry.name, count)
    raise CheckpointError(
        f"the merge of {tensor.name} is NaN or infinite", "Check the recipe's parameters"
    )
