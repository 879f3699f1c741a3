"""Model folders that a merge reads: each opened once, its layout read once."""

import tempfile
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from evomerge.adapters.adapter import Adapter
from evomerge.checkpoints.architecture import Layout, read_layout
from evomerge.checkpoints.locate import Reference, parse_reference
from evomerge.checkpoints.reader import Checkpoint
from evomerge.checkpoints.tokenizer import fingerprint_tokenizer
from evomerge.checkpoints.vocabulary import Vocabulary
from evomerge.engine.ingredients import Ingredient
from evomerge.engine.plan import Adapted, Input, Stored
from evomerge.errors import CheckpointError


class Models:
    """Open model folders by reference (`model@revision+adapter`), each opened once."""

    def __init__(self) -> None:
        self._references: dict[str, Reference] = {}
        self._open: dict[str, Checkpoint] = {}
        self._adapters: dict[str, Adapter] = {}
        self._ingredients: dict[str, Ingredient] = {}
        self._tokenizers: dict[Path, str] = {}
        self._vocabularies: dict[Hashable, Vocabulary] = {}
        self._folders: dict[Hashable, tempfile.TemporaryDirectory[str]] = {}

    def __getitem__(self, reference: str) -> Checkpoint:
        """Return the opened folder of a model; of one with an adapter, the model's own."""
        base = self._read(reference).base
        if base not in self._open:
            self._open[base] = Checkpoint(base)
        return self._open[base]

    def adapter(self, reference: str) -> Adapter | None:
        """Return the adapter that a reference names, opened and checked, or None."""
        name = self._read(reference).lora
        if name is None:
            return None
        if name not in self._adapters:
            self._adapters[name] = Adapter(name)
        return self._adapters[name]

    def ingredient(self, reference: str) -> Ingredient:
        """Return a model as a merge sees it, its adapter applied."""
        if reference not in self._ingredients:
            checkpoint, adapter = self[reference], self.adapter(reference)
            if adapter:
                _refuse(adapter.check({n: e.shape for n, e in checkpoint.entries.items()}))
            tensors = {
                name: _adapt(Stored(reference, entry), adapter)
                for name, entry in checkpoint.entries.items()
            }
            self._ingredients[reference] = Ingredient(
                reference, checkpoint.config, tensors, checkpoint.folder
            )
        return self._ingredients[reference]

    def layout(self, reference: str) -> Layout:
        """Return the layer layout of a model's main module."""
        checkpoint = self[reference]
        return read_layout(checkpoint.config, checkpoint.entries)

    def tokenizer_fingerprint(self, reference: str) -> str:
        """Return what decides how the model's text becomes tokens."""
        return self.folder_fingerprint(self[reference].folder)

    def folder_fingerprint(self, folder: Path) -> str:
        """Return what decides how text becomes tokens; read once, files are large."""
        if folder not in self._tokenizers:
            self._tokenizers[folder] = fingerprint_tokenizer(folder)
        return self._tokenizers[folder]

    def fingerprints(self, references: Iterable[str]) -> dict[str, str]:
        """Return the content fingerprints of models by reference, their adapters' included."""
        return {reference: self.fingerprint(reference) for reference in references}

    def fingerprint(self, reference: str) -> str:
        """Return the content fingerprint of a model, its adapter's included."""
        adapter, own = self.adapter(reference), self[reference].fingerprint
        return f"{own}+{adapter.fingerprint}" if adapter else own

    def _read(self, reference: str) -> Reference:
        """Take a reference apart once: whether an `@` is part of a name, the disk is asked."""
        if reference not in self._references:
            self._references[reference] = parse_reference(reference)
        return self._references[reference]

    def vocabulary(self, build: Callable[[], Vocabulary], key: Hashable) -> Vocabulary:
        """Return the vocabulary that `key` stands for, built at most once: it takes seconds."""
        if key not in self._vocabularies:
            self._vocabularies[key] = build()
        return self._vocabularies[key]

    def check_unchanged(self) -> None:
        """Raise CheckpointError if a model's files were written to while they were read."""
        for checkpoint in self._open.values():
            checkpoint.check_unchanged()

    def make_folder(self, write: Callable[[Path], None], key: Hashable) -> Path:
        """Return a folder that `write` filled, once per key; it lasts as long as the models."""
        if key not in self._folders:
            self._folders[key] = tempfile.TemporaryDirectory(prefix="evomerge-")
            write(Path(self._folders[key].name))
        return Path(self._folders[key].name)


def _refuse(problems: Sequence[str]) -> None:
    """Raise if an adapter does not fit its model; a few problems say enough."""
    if problems:
        more = f" (and {len(problems) - 2} more of the kind)" if len(problems) > 2 else ""
        raise CheckpointError(
            "; ".join(problems[:2]) + more, "Was the adapter trained on this model?"
        )


def _adapt(tensor: Stored, adapter: Adapter | None) -> Input:
    if adapter is None:
        return tensor
    patch = adapter.patch(tensor.entry.name, tensor.shape)
    if replacement := adapter.replacement(tensor.entry.name):
        tensor = Stored(tensor.model, replacement)
    return Adapted(tensor, patch) if patch else tensor
