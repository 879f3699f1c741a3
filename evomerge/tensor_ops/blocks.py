"""Tensors as rows of float32 blocks, walked with memory that is touched once and reused.

Fresh memory costs about 1 GB/s here, reused memory about 40: so a merge of any size runs in the
same few cache-sized buffers. A merge method sees its inputs as `Operands`; it may walk their
blocks to reduce them (a norm, a threshold) and returns a formula for one block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

BLOCK = 1 << 17
"""Elements per block: 512 KiB of float32, so that a handful of operands stay in cache."""

ROW = 1 << 10
"""Elements per partial sum of a reduction: fixes the order of additions for any thread count."""


class Blocks(Protocol):
    """A tensor that can be read piece by piece as float32."""

    @property
    def numel(self) -> int:
        """Number of elements."""
        ...

    def read(self, start: int, out: Tensor) -> None:
        """Fill `out` (float32, 1-D) with elements [start, start + len(out))."""
        ...


@dataclass(frozen=True, slots=True)
class TensorBlocks:
    """An ordinary tensor, any floating dtype, as `Blocks`."""

    tensor: Tensor

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.tensor.numel()

    def read(self, start: int, out: Tensor) -> None:
        """Copy elements [start, start + len(out)) into `out`, as float32."""
        out.copy_(self.tensor.reshape(-1)[start : start + len(out)])


class Scratch:
    """Buffers by slot, allocated once, grown never in the loop."""

    def __init__(self, block: int = BLOCK) -> None:
        self.block = block
        self._buffers: dict[str, Tensor] = {}

    def take(self, slot: str, length: int) -> Tensor:
        """Return the first `length` float32 elements of the buffer called `slot`."""
        if slot not in self._buffers:
            self._buffers[slot] = torch.empty(self.block, dtype=torch.float32)
        return self._buffers[slot][:length]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of every operand, float32; a formula may overwrite all of it.

    Attributes:
        start: index of the block's first element in the flat tensor.
        models: one 1-D tensor per model, without the base.
        origin: the base model's block; None where the method has no base.
        spare: one more buffer of the same length, contents undefined.
    """

    start: int
    models: list[Tensor]
    origin: Tensor | None
    spare: Tensor

    @property
    def base(self) -> Tensor:
        """The base model's block."""
        assert self.origin is not None, "a method that asks for the base declares base='required'"
        return self.origin

    def deltas(self) -> list[Tensor]:
        """Turn `models` into task vectors (model - base), in place, and return them."""
        for model in self.models:
            model.sub_(self.base)
        return self.models


Formula = Callable[[Block], Tensor]
"""A block of inputs to the float32 block of the result (which may be one of its inputs)."""


@dataclass(frozen=True, slots=True)
class Operands:
    """The tensors one merge meets under one name.

    Attributes:
        models: the models' tensors, without the base.
        base: the base model's tensor, or None.
        shape: their common shape.
        keys: an identity per model (content fingerprint), for random masks.
        name: the tensor's name, for random masks.
        seed: the merge's seed, for random masks.
        scratch: buffers to walk in.
    """

    models: tuple[Blocks, ...]
    base: Blocks | None
    shape: tuple[int, ...]
    keys: tuple[str, ...] = ()
    name: str = ""
    seed: int = 0
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def numel(self) -> int:
        """Number of elements of each operand."""
        return (self.base or self.models[0]).numel

    def walk(self) -> Iterator[Block]:
        """Yield block after block; each is valid until the next one is asked for."""
        take, step = self.scratch.take, self.scratch.block
        for start in range(0, self.numel, step):
            length = min(step, self.numel - start)
            models = [take(f"model {i}", length) for i in range(len(self.models))]
            for source, buffer in zip(self.models, models, strict=True):
                source.read(start, buffer)
            base = take("base", length) if self.base else None
            if self.base and base is not None:
                self.base.read(start, base)
            yield Block(start, models, base, take("spare", length))

    def only(self, model: int) -> "Operands":
        """Return the same operands with one model left (and the base)."""
        return replace(self, models=self.models[model : model + 1], keys=())

    def mask_key(self, model: int) -> tuple[int, str, str]:
        """Return what the random mask of model number `model` is a function of."""
        return (self.seed, self.keys[model] if self.keys else str(model), self.name)


def gather(tensors: Sequence[Tensor], base: Tensor | None = None, **identity: object) -> Operands:
    """Wrap ordinary tensors of one shape as operands (for tests and notebooks)."""
    shape = tuple((base if base is not None else tensors[0]).shape)
    blocks = tuple(TensorBlocks(tensor) for tensor in tensors)
    return Operands(blocks, TensorBlocks(base) if base is not None else None, shape, **identity)  # type: ignore[arg-type]  # keys, name, seed or scratch


def fixed_order_sum(values: Tensor) -> float:
    """Sum a 1-D float32 tensor in float64, in an order that threads cannot change."""
    whole = len(values) // ROW * ROW
    rows = values[:whole].view(-1, ROW).sum(dim=1, dtype=torch.float64).tolist()
    return float(sum(rows, start=0.0)) + float(sum(values[whole:].tolist(), start=0.0))
