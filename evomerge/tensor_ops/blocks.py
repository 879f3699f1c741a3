"""Tensors as rows of float32 blocks, walked with memory that is touched once and reused.

Fresh memory costs about 1 GB/s here, reused memory about 40: so a merge of any size runs in the
same few cache-sized buffers. A merge method sees its inputs as `Operands`; it may walk their
blocks to reduce them (a norm, a threshold) and returns a formula for one block.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

BLOCK = 1 << 19
"""Elements per block: so many that calls cost little, so few that a handful of operands stay in a
cache of some megabytes. Native kernels divide it further."""

ALIGNMENT = 1 << 10
LARGEST_UNIT = 1 << 22
"""Elements: rows are aligned with sums where that takes no larger blocks than this."""

Granularity = Literal["elements", "rows", "tensor"]
"""What a block holds: any elements; whole rows of the last dimension; the whole tensor."""


class Blocks(Protocol):
    """A tensor that can be looked at piece by piece."""

    @property
    def numel(self) -> int:
        """Number of elements."""
        ...

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length), 1-D, in the dtype they are kept in.

        They are only to be read, and valid until the next call.
        """
        ...


@dataclass(frozen=True, slots=True)
class TensorBlocks:
    """An ordinary tensor, any floating dtype, as `Blocks`."""

    tensor: Tensor

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.tensor.numel()

    def view(self, start: int, length: int) -> Tensor:
        """Return elements [start, start + length) themselves."""
        return self.tensor.reshape(-1)[start : start + length]


class Scratch:
    """Buffers by slot, allocated once, grown only for blocks larger than any before.

    Args:
        block: elements per block, where a method does not ask for whole rows or tensors.
        device: where the buffers are.
    """

    def __init__(self, block: int = BLOCK, device: str = "cpu") -> None:
        self.block = block
        self.device = torch.device(device)
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, slot: str, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the first `length` elements of the buffer called `slot`, contents undefined."""
        buffer = self._buffers.get((slot, dtype))
        if buffer is None or len(buffer) < length:
            buffer = torch.empty(max(self.block, length), dtype=dtype, device=self.device)
            self._buffers[slot, dtype] = buffer
        return buffer[:length]


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
class Views:
    """One block of every operand as it is kept, only to be read: what native kernels take."""

    start: int
    models: list[Tensor]
    base: Tensor | None


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
        granularity: what blocks hold; as the method declares.
        depth: of the tensor's layer in [0, 1]; 0 outside the layers.
    """

    models: tuple[Blocks, ...]
    base: Blocks | None
    shape: tuple[int, ...]
    keys: tuple[str, ...] = ()
    name: str = ""
    seed: int = 0
    scratch: Scratch = field(default_factory=Scratch)
    granularity: Granularity = "elements"
    depth: float = 0.0

    @property
    def numel(self) -> int:
        """Number of elements of each operand."""
        return math.prod(self.shape)

    @property
    def step(self) -> int:
        """Elements per block: a multiple of the row's length, or all of them, where asked for.

        Blocks of rows begin at multiples of 1024 elements too, where that costs little memory:
        so sums in rows of 1024 have the same bits for any size of blocks.
        """
        if self.granularity == "elements":
            return self.scratch.block
        row = max(1, self.shape[-1] if self.granularity == "rows" and self.shape else self.numel)
        unit = math.lcm(row, ALIGNMENT)
        unit = unit if unit <= LARGEST_UNIT else row
        return min(max(1, self.numel), max(1, self.scratch.block // unit) * unit)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield (start, length) of every block."""
        for start in range(0, self.numel, self.step):
            yield start, min(self.step, self.numel - start)

    def walk(self) -> Iterator[Block]:
        """Yield block after block; each is valid until the next one is asked for."""
        for start, length in self.extents():
            yield self.block(start, length)

    def block(self, start: int, length: int) -> Block:
        """Read elements [start, start + length) of every operand as float32."""
        take = self.scratch.take
        models = [take(f"model {i}", length) for i in range(len(self.models))]
        for source, buffer in zip(self.models, models, strict=True):
            buffer.copy_(source.view(start, length))
        base = take("base", length).copy_(self.base.view(start, length)) if self.base else None
        return Block(start, models, base, take("spare", length))

    def views(self) -> Iterator[Views]:
        """Yield block after block of the operands as they are kept, only to be read."""
        return (self.view(start, length) for start, length in self.extents())

    def view(self, start: int, length: int) -> Views:
        """Return elements [start, start + length) of the operands as they are kept."""
        models = [source.view(start, length) for source in self.models]
        return Views(start, models, self.base.view(start, length) if self.base else None)

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
    return Operands(blocks, TensorBlocks(base) if base is not None else None, shape, **identity)  # type: ignore[arg-type]  # keys, name, seed, scratch or granularity
