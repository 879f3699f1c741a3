"""What stands where a recipe names a model: a folder's tensors, or another recipe's result."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evomerge.checkpoints.architecture import Layout, find_tensor, read_modules
from evomerge.engine.plan import Input


@dataclass(frozen=True)
class Ingredient:
    """A model as a merge sees it.

    Attributes:
        label: its reference; what messages call it.
        config: the contents of its config.json.
        tensors: by name.
        folder: where its tokenizer is.
    """

    label: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Input]
    folder: Path

    @cached_property
    def modules(self) -> tuple[Layout, ...]:
        """Its stacks of layers."""
        return read_modules(self.config, self.tensors)

    def layout(self, module: str) -> Layout | None:
        """Return the stack called `module`; a model with a single stack has no other."""
        alone = self.modules[0] if len(self.modules) == 1 else None
        return next((layout for layout in self.modules if layout.module == module), alone)

    def find(self, name: str) -> Input | None:
        """Return the tensor that others call `name`, however it is spelled here, or tied."""
        if name in self.tensors:
            return self.tensors[name]
        spelled = find_tensor(name, self.tensors, self.config)
        return self.tensors[spelled] if spelled else None
