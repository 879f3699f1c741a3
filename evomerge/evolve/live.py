"""Live models: one that becomes recipe after recipe, built once; or a folder as it stands."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomerge.engine import Models, Plan, Resident, make_plan, merge
from evomerge.engine.compact import is_compact
from evomerge.recipe import Recipe
from evomerge.recipe.fingerprint import hash_values

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from evomerge.inference.transformers_model import TransformersModel


class LiveModel:
    """Recipes in memory: a merge costs one pass over the parameters, and nothing on the disk.

    Args:
        device: where the model lives.
        arithmetic: dtype it computes in; the fastest one here if None.
        seed: of random masks.
    """

    def __init__(self, device: str, arithmetic: str | None = None, *, seed: int = 0) -> None:
        self._device = device
        self._arithmetic = arithmetic
        self._seed = seed
        self._models = Models()
        self._live: tuple[str, TransformersModel, Resident] | None = None
        self._outline: list[Any] = []

    def realise(self, recipe: Recipe) -> "TransformersModel":
        """Make the model the result of `recipe`; the one returned before becomes it, if it fits.

        Raises:
            EvoMergeException: the recipe cannot be carried out in memory.
        """
        plan = self.prepare(recipe)
        assert self._live is not None
        _, model, resident = self._live
        resident.write(plan)
        return model

    def prepare(self, recipe: Recipe) -> Plan:
        """Build the model that `recipe` needs, unless it is there; its parameters come later."""
        plan = make_plan(recipe, self._models, seed=self._seed)
        tokenizer = plan.tokenizer.materialise(self._models)
        key = hash_values([plan.config, plan.dtype, str(tokenizer)])
        if self._live and _outline(self._live[1].module) != self._outline:
            self._live = None  # a judge has left something in it
        if self._live is None or self._live[0] != key:
            self._live = None  # let go of the old model before the new one is built
            self._live = (key, *self._build(plan, tokenizer))
            self._outline = _outline(self._live[1].module)
        return plan

    def _build(self, plan: Plan, tokenizer: Path) -> "tuple[TransformersModel, Resident]":
        from evomerge.checkpoints.loading import build_model, find_arithmetic, load_tokenizer
        from evomerge.inference.transformers_model import TransformersModel

        dtype = self._arithmetic or find_arithmetic(plan.dtype, self._device)
        module = build_model(plan.config, dtype, self._device)
        model = TransformersModel(module, load_tokenizer(tokenizer))
        return model, Resident(module, self._models)


class QuantizedModel:
    """Recipes in few bits: each is written to a temporary folder, and loaded from there.

    Args:
        device: where the model lives.
        bits: 8 or 4.
        seed: of random masks.
    """

    def __init__(self, device: str, bits: int, *, seed: int = 0) -> None:
        self._device, self._bits, self._seed = device, bits, seed

    def prepare(self, recipe: Recipe) -> None:
        """Do nothing: the model depends on its weights."""

    def realise(self, recipe: Recipe) -> "TransformersModel":
        """Return the result of a recipe.

        Raises:
            EvoMergeException: it cannot be written or loaded.
        """
        with exported(recipe, seed=self._seed) as folder:
            return load_folder(folder, self._device, bits=self._bits)


def load_folder(
    folder: Path, device: str, arithmetic: str | None = None, *, bits: int | None = None
) -> "TransformersModel":
    """Load a model folder or GGUF file as transformers does.

    No code in a folder is run but what `evomerge merge --compact` has written there.

    Args:
        folder: or file.
        device: where the model lives.
        arithmetic: dtype it computes in; the fastest one here for its own dtype if None.
        bits: of its matrices' weights, 8 or 4; as they are if None.

    Raises:
        CheckpointError: transformers cannot load it.
    """
    from evomerge.checkpoints.loading import load_model, load_tokenizer
    from evomerge.inference.transformers_model import TransformersModel

    trust = is_compact(folder)
    module = load_model(folder, device, arithmetic=arithmetic or "fastest", trust=trust, bits=bits)
    return TransformersModel(module, load_tokenizer(folder))


def _outline(module: "Module") -> list[Any]:
    """Return what a model is made of, but for its parameters' values, which are written anew."""
    return [
        (
            *(name, id(part), "forward" in vars(part)),
            *(len(part._forward_hooks), len(part._forward_pre_hooks)),
            part._compiled_call_impl is None,
            *((id(p), p.dtype, p.device, p.shape) for p in part.parameters(recurse=False)),
            *((b.dtype, b.device, b.shape, _digest(b)) for b in part.buffers(recurse=False)),
        )
        for name, part in module.named_modules()
    ]


def _digest(buffer: "Tensor") -> bytes:
    """Hash what a buffer holds: nobody writes it anew."""
    import torch

    if buffer.is_meta:
        return b""
    held = buffer.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(held.numpy().tobytes()).digest()


@contextmanager
def exported(
    recipe: Recipe, *, seed: int = 0, threads: int | None = None, compact: bool = False
) -> Iterator[Path]:
    """Write a merge to a temporary folder (in `TMPDIR`), gone at the end whatever happens.

    Args:
        recipe: of the merge.
        seed: of random masks.
        threads: see `merge`.
        compact: whether a path keeps every layer once; see `merge`.

    Raises:
        EvoMergeException: the recipe cannot be carried out, or the disk has too little space.
    """
    with tempfile.TemporaryDirectory(prefix="evomerge-", ignore_cleanup_errors=True) as home:
        target = Path(home) / "merge"
        yield merge(recipe, target, seed=seed, threads=threads, model_card=False, compact=compact)
