"""One tensor's merge: read blocks, apply the formula, round each block once into its place."""

from collections.abc import Iterator

import torch
from torch import Tensor

from evomerge.checkpoints.reader import Checkpoint, Entry
from evomerge.engine.models import Models
from evomerge.engine.plan import NAMES, Adapted, Input, Moved, Stored, TensorPlan, stored
from evomerge.engine.sources import (
    DTYPES,
    AdaptedBlocks,
    FileBlocks,
    MappedBlocks,
    MovedBlocks,
)
from evomerge.errors import CheckpointError
from evomerge.recipe.fingerprint import hash_values
from evomerge.tensor_ops.blocks import BLOCK, Blocks, Operands, Scratch, Views

GPU_BLOCK = 1 << 22
"""Elements per block on a GPU: few launches; the bits are those of any block size."""


class Workbench:
    """Buffers for merging, allocated once; one per thread.

    Args:
        models: the open source models.
        mapped: whether tensors are mapped into memory instead of read; for models that nobody
            cuts short meanwhile.
        device: where blocks are computed.
        allow_nonfinite: whether NaN and infinity are merged like numbers.
    """

    def __init__(
        self,
        models: Models,
        *,
        mapped: bool = False,
        device: str = "cpu",
        allow_nonfinite: bool = False,
    ) -> None:
        self.models = models
        self.mapped = mapped
        self.device = device
        self.allow_nonfinite = allow_nonfinite
        self._scratches: dict[str, Scratch] = {}

    def scratch(self, path: str) -> Scratch:
        """Return the buffers of the node at `path` of a tensor's plan."""
        if path not in self._scratches:
            size = BLOCK if self.device == "cpu" else GPU_BLOCK
            self._scratches[path] = Scratch(size, "cpu" if path else self.device)
        return self._scratches[path]

    def open(self, node: Input, path: str) -> Blocks:
        """Return a node of a plan as blocks; `path` tells its place in the plan, '0/base'."""
        if isinstance(node, TensorPlan):
            return self.open(node.lead, path) if node.copied else Merge(node, self, path)
        if isinstance(node, Adapted):
            return AdaptedBlocks(node, self.open(node.source, path + "/own"), self.scratch(path))
        if isinstance(node, Moved):
            parts = {id(n): n for pairs in node.rows.substitutes.values() for n, _ in pairs}
            others = {key: self.open(n, f"{path}/{i}") for i, (key, n) in enumerate(parts.items())}
            source = self.open(node.source, path + "/own")
            return MovedBlocks(node, source, others, self.scratch(path))
        checkpoint = self.models[node.model]
        if self.mapped and hasattr(checkpoint, "map_tensor"):
            return MappedBlocks(checkpoint.map_tensor(node.entry).view(-1))
        return FileBlocks(checkpoint, node.entry, self.scratch(path))

    def identify(self, node: Input) -> str:
        """Return what a random mask of the node is a function of: its contents."""
        if isinstance(node, Stored):
            return self.models.fingerprint(node.model)
        if isinstance(node, (Adapted, Moved)):
            return self.identify(node.source)
        parts = (*node.inputs, *([node.base] if node.base else []))
        values = {key: repr(value) for key, value in node.values.items()}
        return hash_values([node.spec.name, [self.identify(part) for part in parts], values])


class Merge:
    """A tensor that becomes: its operands open, its method's reductions done.

    Args:
        tensor: what to merge; not a copied one.
        bench: buffers and open models.
        path: place in a larger plan; empty for a tensor of the result.
    """

    def __init__(self, tensor: TensorPlan, bench: Workbench, path: str = "") -> None:
        self.tensor, self.bench = tensor, bench
        self.dtype: torch.dtype = DTYPES[tensor.dtype]
        opened = [bench.open(part, f"{path}/{i}") for i, part in enumerate(tensor.inputs)]
        random = tensor.spec.random
        self.operands = Operands(
            models=tuple(opened),
            base=bench.open(tensor.base, path + "/base") if tensor.base else None,
            shape=tensor.shape,
            keys=tuple(bench.identify(part) for part in tensor.inputs) if random else (),
            name=tensor.name,
            seed=tensor.seed,
            scratch=bench.scratch(path),
            granularity=tensor.spec.granularity_for(tensor.values),
            depth=tensor.depth,
        )
        files = [part for part in (*opened, self.operands.base) if isinstance(part, FileBlocks)]
        for file in files:
            file.keep()
        self.formula = tensor.spec.bind(self.operands, tensor.values)
        for file in files:
            file.settle()
        self._write = getattr(self.formula, "write", None)
        self._whole: Tensor | None = None

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.operands.numel

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield (start, length) of the blocks in which the result is to be filled."""
        return self.operands.extents()

    def fill(self, start: int, out: Tensor) -> None:
        """Write elements [start, start + len(out)) of the result, rounded to `out`'s dtype.

        Raises:
            CheckpointError: an input or the result is NaN or infinite.
        """
        finite = self._write(self._views(start, len(out)), out) if self._write else None
        if finite is None:
            out.copy_(self.formula(self.operands.block(start, len(out))))
            finite = is_finite(out)
        if not finite and not self.bench.allow_nonfinite:
            self._refuse()

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length), rounded to the tensor's dtype."""
        if self.operands.granularity == "elements":
            buffer = self.operands.scratch.take("result", length, self.dtype)
            self.fill(start, buffer)
            return buffer
        if self._whole is None:
            self._whole = torch.empty(self.numel, dtype=self.dtype)
            for first, size in self.operands.extents():
                self.fill(first, self._whole[first : first + size])
        return self._whole[start : start + length]

    def _views(self, start: int, length: int) -> Views:
        models = [source.view(start, length) for source in self.operands.models]
        base = self.operands.base
        return Views(start, models, base.view(start, length) if base else None)

    def _refuse(self) -> None:
        refuse_nonfinite(self.tensor, self.bench.models)


class Copy:
    """A tensor that is taken as it is: the same bits."""

    def __init__(self, tensor: TensorPlan, bench: Workbench) -> None:
        self.tensor, self.bench = tensor, bench
        self.dtype = DTYPES[tensor.dtype]
        self._source = bench.open(tensor.lead, "/copy")

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield (start, length) of the blocks in which the result is to be filled."""
        for start in range(0, self._source.numel, BLOCK):
            yield start, min(BLOCK, self._source.numel - start)

    def fill(self, start: int, out: Tensor) -> None:
        """Copy elements [start, start + len(out)) into `out`."""
        out.copy_(self._source.view(start, len(out)))
        if out.is_floating_point() and not self.bench.allow_nonfinite and not is_finite(out):
            refuse_nonfinite(self.tensor, self.bench.models)


def open_result(tensor: TensorPlan, bench: Workbench) -> Merge | Copy:
    """Return a tensor of the result, ready to be filled in block by block."""
    return Copy(tensor, bench) if tensor.copied else Merge(tensor, bench)


def refuse_nonfinite(tensor: TensorPlan, models: Models) -> None:
    """Say where a NaN or an infinity in a tensor of the result comes from.

    Raises:
        CheckpointError: always.
    """
    for part in stored(tensor):
        adapter, place = models.adapter(part.model), models[part.model]
        for entry in (part.entry, *(adapter.entries(part.entry.name) if adapter else ())):
            if count := count_nonfinite(place, entry):
                raise nonfinite_error(part.model, entry.name, count)
    if tensor.dtype == "F16":
        raise CheckpointError(
            f"{tensor.name} overflows float16 in this merge", "Set dtype: bfloat16 or float32"
        )
    raise CheckpointError(
        f"the merge of {tensor.name} is NaN or infinite", "Check the recipe's parameters"
    )


def is_finite(values: Tensor) -> bool:
    """Tell whether no element is NaN or infinite, in one pass."""
    total = float(values.sum(dtype=torch.float32))
    return total - total == 0.0 or bool(torch.isfinite(values).all())


def find_nonfinite(checkpoint: Checkpoint) -> tuple[str, int] | None:
    """Return name and count of the first tensor that holds NaN or infinity, else None."""
    for entry in checkpoint.entries.values():
        if entry.dtype in NAMES and (count := count_nonfinite(checkpoint, entry)):
            return entry.name, count
    return None


def nonfinite_error(model: str, tensor: str, count: int) -> CheckpointError:
    """Describe a model whose weights are not numbers."""
    values = f"{count} NaN or infinite value{'s' if count != 1 else ''}"
    return CheckpointError(
        f"{model} has {values} in tensor {tensor}",
        "Fetch the model again, leave it out, or pass --allow-nonfinite",
    )


def count_nonfinite(checkpoint: Checkpoint, entry: Entry) -> int:
    """Count the NaN and infinite elements of a tensor on disk."""
    blocks, count = FileBlocks(checkpoint, entry, Scratch()), 0
    for start in range(0, entry.numel, BLOCK):
        values = blocks.view(start, min(BLOCK, entry.numel - start))
        if not is_finite(values):
            count += int((~torch.isfinite(values)).sum())
    return count


__all__ = ["Copy", "Merge", "Workbench", "find_nonfinite", "nonfinite_error", "open_result"]
