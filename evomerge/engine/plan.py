"""The plan of a merge: what each tensor of the result is made of, its shape, dtype, parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.checkpoints.reader import Entry
from evomerge.checkpoints.writer import Shape
from evomerge.methods import MethodSpec
from evomerge.recipe.model import Recipe

CODES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""torch's name of a floating dtype to safetensors' code for it."""

NAMES = {code: name for name, code in CODES.items()}


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor of one of the models."""

    model: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How one tensor of the result comes about.

    Attributes:
        name: in the result.
        dtype: safetensors code of the result.
        inputs: one per model, without the base.
        base: the base model's tensor, if the method has a base.
        values: the method's parameters, per-model ones as tuples.
        copied: whether the bytes of the (first) input are taken as they are.
    """

    name: str
    dtype: str
    inputs: tuple[Input, ...]
    base: Input | None
    values: Mapping[str, Any]
    copied: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return (self.base or self.inputs[0]).entry.shape


@dataclass(frozen=True)
class Plan:
    """All tensors of the result, and the configuration and tokenizer it gets.

    Attributes:
        recipe: what is carried out.
        spec: its merge method.
        tensors: in the order in which they are written.
        config: the result's config.json.
        tokenizer: folder whose tokenizer files are taken.
        seed: of random masks.
        warnings: what a user should know.
    """

    recipe: Recipe
    spec: MethodSpec
    tensors: tuple[TensorPlan, ...]
    config: Mapping[str, Any]
    tokenizer: Path
    seed: int
    warnings: tuple[str, ...]

    @property
    def shapes(self) -> list[Shape]:
        """Return what is to be written."""
        return [Shape(t.name, t.dtype, t.shape) for t in self.tensors]

    @property
    def dtype(self) -> str:
        """Return the dtype of most parameters, as torch names it."""
        sizes: dict[str, int] = {}
        for shape in self.shapes:
            if shape.dtype in NAMES:
                sizes[shape.dtype] = sizes.get(shape.dtype, 0) + shape.bytes
        return NAMES[max(sizes, key=lambda code: sizes[code])] if sizes else "float32"
