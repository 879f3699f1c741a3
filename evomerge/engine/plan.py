"""The plan of a merge: what each tensor of the result is made of, its shape, dtype, parameters.

A plan is a tree. Its leaves are tensors on disk; a tensor may be adapted by a LoRA, have its rows
moved to another vocabulary, or be the result of another merge, and then be merged again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evomerge.checkpoints.reader import Entry
from evomerge.checkpoints.writer import Shape
from evomerge.engine.rows import Rows
from evomerge.methods import MethodSpec
from evomerge.recipe.model import Recipe

CODES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""torch's name of a floating dtype to safetensors' code for it."""

NAMES = {code: name for name, code in CODES.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of one of the models, as its files hold it."""

    model: str
    entry: Entry

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.entry.shape

    @property
    def dtype(self) -> str:
        """Its safetensors code."""
        return self.entry.dtype


@dataclass(frozen=True, slots=True)
class Adapted:
    """A stored tensor with a LoRA applied, float32."""

    source: Stored
    patch: Any
    dtype: str = "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.source.shape


@dataclass(frozen=True, slots=True)
class Moved:
    """A tensor whose rows follow another vocabulary.

    Attributes:
        source: the tensor in its own vocabulary.
        rows: which row comes from where.
    """

    source: "Input"
    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return (len(self.rows.own), *self.source.shape[1:])

    @property
    def dtype(self) -> str:
        """Its safetensors code."""
        return self.source.dtype


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How one tensor of the result comes about.

    Attributes:
        name: in the result.
        dtype: safetensors code of the result.
        spec: the merge method.
        inputs: one per model, without the base.
        base: the base model's tensor, if the method has a base.
        values: the method's parameters, per-model ones as tuples.
        seed: of random masks.
        depth: of the tensor's layer in [0, 1]; 0 outside the layers.
        copied: whether the bytes of the (first) input are taken as they are.
    """

    name: str
    dtype: str
    spec: MethodSpec
    inputs: "tuple[Input, ...]"
    base: "Input | None"
    values: Mapping[str, Any]
    seed: int = 0
    depth: float = 0.0
    copied: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.lead.shape

    @property
    def lead(self) -> "Input":
        """Return the base's tensor, or the first one where there is no base."""
        return self.base or self.inputs[0]


Input = Stored | Adapted | Moved | TensorPlan
"""What a merge can be made of."""


def stored(node: Input) -> Iterator[Stored]:
    """Yield every tensor on disk that a node is made of."""
    if isinstance(node, Stored):
        yield node
    elif isinstance(node, TensorPlan):
        for part in (*([node.base] if node.base else []), *node.inputs):
            yield from stored(part)
    else:
        yield from stored(node.source)


@dataclass(frozen=True)
class Plan:
    """All tensors of the result, and the configuration and tokenizer it gets.

    Attributes:
        recipe: what is carried out.
        spec: its merge method.
        tensors: in the order in which they are written.
        config: the result's config.json.
        tokenizer: what is written beside the weights.
        seed: of random masks.
        warnings: what a user should know.
        path: the path with scaled inputs that was baked into `recipe`; None where none was.
    """

    recipe: Recipe
    spec: MethodSpec
    tensors: tuple[TensorPlan, ...]
    config: Mapping[str, Any]
    tokenizer: Any
    seed: int
    warnings: tuple[str, ...]
    path: Recipe | None = None

    @property
    def shapes(self) -> list[Shape]:
        """Return what is to be written."""
        return [Shape(t.name, t.dtype, t.shape) for t in self.tensors]

    @property
    def dtype(self) -> str:
        """Return the dtype of most parameters, as torch names it."""
        return main_dtype(self.tensors)


def main_dtype(tensors: tuple[TensorPlan, ...]) -> str:
    """Return the floating dtype that most bytes have, as torch names it; 'float32' if none."""
    sizes: dict[str, int] = {}
    for tensor in tensors:
        shape = Shape(tensor.name, tensor.dtype, tensor.shape)
        if shape.dtype in NAMES:
            sizes[shape.dtype] = sizes.get(shape.dtype, 0) + shape.bytes
    return NAMES[max(sizes, key=lambda code: sizes[code])] if sizes else "float32"


FLOATING = ("F64", "F32", "F16", "BF16")
COPIED = ("I64", "I32", "I16", "BOOL", "U16", "U32", "U64")
"""Whole numbers are not merged: the reference's are taken. (Bytes are quantized weights.)"""


def promote(codes: set[str], asked: str | None = None) -> str:
    """Return the dtype asked for, else the narrowest floating dtype that holds all of `codes`."""
    if asked:
        return CODES[asked]
    if len(codes) == 1:
        return next(iter(codes))
    return "F64" if "F64" in codes else "F32"
