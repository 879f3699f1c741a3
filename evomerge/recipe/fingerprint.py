"""A recipe's identity: what it says, of which model contents, with which seed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from evomerge.recipe.model import Recipe


def fingerprint_recipe(recipe: Recipe, models: Mapping[str, str], seed: int = 0) -> str:
    """Hash a recipe; equal fingerprints give bit-identical merges.

    Args:
        recipe: what is done.
        models: model name as in the recipe -> fingerprint of its contents.
        seed: of random masks.

    Returns:
        32 hexadecimal digits. The names under which the models are found do not matter.
    """
    return hash_values([_rename(recipe.to_document(), models), seed])


def _rename(value: Any, models: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: models.get(entry, entry)
            if key in ("model", "base_model", "tokenizer_source") and isinstance(entry, str)
            else _rename(entry, models)
            for key, entry in value.items()
        }
    return [_rename(entry, models) for entry in value] if isinstance(value, list) else value


def hash_values(values: Any) -> str:
    """Hash plain values (32 hexadecimal digits); the order of keys does not matter."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
