"""The nodes of a plan as blocks: a tensor on disk, adapted, moved, each read piece by piece."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.adapters.patch import TILE
from evomerge.checkpoints.reader import ITEM_BYTES, Checkpoint, Entry
from evomerge.engine.plan import Adapted, Moved
from evomerge.tensor_ops.blocks import Blocks, Scratch

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""safetensors' code to torch's dtype."""

KEPT_BYTES = 32 << 20
"""Tensors up to this size are kept while they are merged, if they are read more than once."""

ROWS = 256
"""Rows that are added up at once for the mean of an embedding: few enough for any memory."""


class FileBlocks:
    """A tensor on disk, read with pread into buffers that are reused.

    What a method reads while it reduces is kept where it fits, since it will be read again.

    Args:
        checkpoint: whose tensor.
        entry: which.
        scratch: of this place in the plan.
    """

    def __init__(self, checkpoint: Checkpoint, entry: Entry, scratch: Scratch) -> None:
        self.numel = entry.numel
        self._checkpoint, self._entry, self._scratch = checkpoint, entry, scratch
        self._dtype = DTYPES[entry.dtype]
        self._kept: Tensor | None = None
        self._filled = 0

    def keep(self) -> None:
        """Keep from now on what is read, if the whole tensor is small enough."""
        if self._entry.end - self._entry.start <= KEPT_BYTES:
            self._kept = self._scratch.take("kept", self.numel, self._dtype)

    def settle(self) -> None:
        """Keep no more: what a method did not read while it reduced is read once only."""
        if not self._filled:
            self._kept = None

    def view(self, start: int, length: int) -> Tensor:
        """Read elements [start, start + length)."""
        end = start + length
        if self._kept is None or start > self._filled:
            return self._read(start, self._scratch.take("raw", length, self._dtype))
        if end > self._filled:
            self._read(self._filled, self._kept[self._filled : end])
            self._filled = end
        return self._kept[start:end]

    def _read(self, start: int, buffer: Tensor) -> Tensor:
        raw = buffer.view(torch.uint8).numpy().data
        self._checkpoint.read_into(self._entry, start * ITEM_BYTES[self._entry.dtype], raw)
        return buffer


@dataclass(frozen=True, slots=True)
class MappedBlocks:
    """A tensor on disk that is mapped into memory: nothing is copied."""

    tensor: Tensor

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.tensor.numel()

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length) of the mapping."""
        return self.tensor[start : start + length]


class AdaptedBlocks:
    """A tensor with a LoRA applied: whole rows are adapted, float32."""

    def __init__(self, node: Adapted, source: Blocks, scratch: Scratch) -> None:
        self.numel = source.numel
        self._patch, self._source, self._scratch = node.patch, source, scratch
        self._width = node.shape[-1] if node.shape else 1
        self._whole: Tensor | None = None

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length), adapted."""
        if self._patch.whole:
            if self._whole is None:
                self._whole = self._adapt(0, self.numel // self._width).clone()
            return self._whole[start : start + length]
        first = start // self._width // TILE * TILE
        last = -(-(start + length) // self._width)
        last = min(-(-last // TILE) * TILE, self.numel // self._width)
        skipped = start - first * self._width
        return self._adapt(first, last)[skipped : skipped + length]

    def _adapt(self, first: int, last: int) -> Tensor:
        size = (last - first) * self._width
        weight = self._scratch.take("rows", size)
        weight.copy_(self._source.view(first * self._width, size))
        adapted: Tensor = self._patch.apply(weight.view(-1, self._width), first)
        return adapted.reshape(-1)


class MovedBlocks:
    """A tensor whose rows follow another vocabulary."""

    def __init__(
        self, node: Moved, source: Blocks, others: Mapping[Any, Blocks], scratch: Scratch
    ) -> None:
        self.numel = prod(node.shape)
        self._rows, self._source, self._others, self._scratch = node.rows, source, others, scratch
        self._width = prod(node.shape[1:])
        self._average: Tensor | None = None

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length), float32."""
        first, last = start // self._width, -(-(start + length) // self._width)
        if last > len(self._rows.own) - self._rows.padding:
            self._mean()  # before the buffer is in use
        rows = self._scratch.take("rows", (last - first) * self._width).view(-1, self._width)
        self._gather(first, last, rows)
        skipped = start - first * self._width
        return rows.view(-1)[skipped : skipped + length]

    def _gather(self, first: int, last: int, out: Tensor) -> None:
        tokens = len(self._rows.own) - self._rows.padding
        own = self._rows.own[first : min(last, tokens)]
        follows = (own[1:] == own[:-1] + 1) & (own[:-1] >= 0)
        starts = [0, *(np.flatnonzero(~follows) + 1).tolist()]  # of runs of consecutive rows
        for at, end in itertools.pairwise([*starts, len(own)] if len(own) else []):
            if own[at] >= 0:
                run = self._source.view(int(own[at]) * self._width, (end - at) * self._width)
                out[at:end].copy_(run.view(-1, self._width))
            else:
                self._substitute(first + at, out[at])
        if last > tokens:
            out[len(own) :] = self._mean()

    def _substitute(self, row: int, out: Tensor) -> None:
        out.zero_()
        parts = self._rows.substitutes.get(row, ())
        for node, index in parts:
            out.add_(self._others[id(node)].view(index * self._width, self._width))
        if len(parts) > 1:
            out.div_(out.new_tensor([len(parts)]))

    def _mean(self) -> Tensor:
        """Return the mean of all rows that stand for a token, float32, shape (width,)."""
        if self._average is None:
            tokens = len(self._rows.own) - self._rows.padding
            total = torch.zeros(self._width, dtype=torch.float64)
            for row in range(0, tokens, ROWS):
                count = min(ROWS, tokens - row)
                rows = self.view(row * self._width, count * self._width)
                total += rows.view(count, self._width).sum(dim=0, dtype=torch.float64)
            self._average = (total / tokens).float()
        return self._average
