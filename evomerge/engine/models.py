"""Model folders that a merge reads: each opened once, its layout read once."""

from collections.abc import Iterable

from evomerge.checkpoints.architecture import Layout, read_layout
from evomerge.checkpoints.reader import Checkpoint
from evomerge.checkpoints.tokenizer import fingerprint_tokenizer


class Models:
    """Open model folders by reference, each opened once."""

    def __init__(self) -> None:
        self._open: dict[str, Checkpoint] = {}
        self._layouts: dict[str, Layout] = {}
        self._tokenizers: dict[str, str] = {}

    def __getitem__(self, reference: str) -> Checkpoint:
        if reference not in self._open:
            self._open[reference] = Checkpoint(reference)
        return self._open[reference]

    def layout(self, reference: str) -> Layout:
        """Return the layer layout of a model."""
        if reference not in self._layouts:
            checkpoint = self[reference]
            self._layouts[reference] = read_layout(checkpoint.config, checkpoint.entries)
        return self._layouts[reference]

    def tokenizer_fingerprint(self, reference: str) -> str:
        """Return what decides how the model's text becomes tokens; read once, files are large."""
        if reference not in self._tokenizers:
            self._tokenizers[reference] = fingerprint_tokenizer(self[reference].folder)
        return self._tokenizers[reference]

    def fingerprints(self, references: Iterable[str]) -> dict[str, str]:
        """Return the content fingerprints of models by reference."""
        return {reference: self[reference].fingerprint for reference in references}
