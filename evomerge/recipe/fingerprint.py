"""A recipe's identity: what it says, of which model contents, with which seed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evomerge.recipe.model import Recipe


def fingerprint_recipe(recipe: Recipe, models: Mapping[str, str], seed: int = 0) -> str:
    """Hash a recipe; equal fingerprints give bit-identical merges.

    Args:
        recipe: what is done.
        models: model name as in the recipe -> fingerprint of its contents.
        seed: of random masks.

    Returns:
        32 hexadecimal digits. The names under which models are found do not matter, nor those
        of documents.
    """
    digests: dict[Recipe, str] = {}
    for part in recipe.recipes:  # each after those that it needs
        digests[part] = hash_values(_by_contents(part, models, digests))
    return hash_values([_by_contents(recipe, models, digests), seed])


def _by_contents(
    recipe: Recipe, models: Mapping[str, str], digests: Mapping[Recipe, str]
) -> dict[str, Any]:
    """Write a recipe with every model called by its contents, and a recipe by its own hash."""
    named = {part.name: digests[part] for part in recipe.recipes if part.name}
    known = {"union": "union", "base": "base", **models, **named}
    called = recipe.rename_models(
        lambda model: digests[model] if isinstance(model, Recipe) else known.get(model, model)
    )
    return replace(called, name=None).to_document()


def hash_values(values: Any) -> str:
    """Hash plain values (32 hexadecimal digits); the order of keys does not matter."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
