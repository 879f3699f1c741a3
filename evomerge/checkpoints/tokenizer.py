"""Tokenizers as files: copied whole, compared by content."""

import hashlib
import json
from pathlib import Path

from evomerge.checkpoints.reader import read_json
from evomerge.checkpoints.writer import copy_file

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "generation_config.json",
)


def copy_tokenizer(source: Path, target: Path) -> list[str]:
    """Copy tokenizer and generation files that exist; return their names."""
    found = [name for name in FILES if (source / name).is_file()]
    for name in found:
        copy_file(source / name, target / name)
    return found


def fingerprint_tokenizer(folder: Path) -> str:
    """Hash what decides how text becomes token ids (32 hex digits; empty without a tokenizer).

    Raises:
        CheckpointError: the tokenizer's file is damaged.
    """
    digest = hashlib.sha256()
    vocabulary = folder / "tokenizer.json"
    if vocabulary.is_file():
        table = read_json(vocabulary, str(folder))
        for changing in ("padding", "truncation"):
            table.pop(changing, None)
        digest.update(json.dumps(table, sort_keys=True).encode())
        return digest.hexdigest()[:32]
    found = [folder / n for n in FILES[2:9] if (folder / n).is_file()]
    for file in found:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:32] if found else ""
