"""From YAML text to a Recipe, with every problem found in one go."""

import logging
from pathlib import Path
from typing import Any

from evomerge.errors import Problem, RecipeError
from evomerge.recipe.documents import read_documents
from evomerge.recipe.model import Recipe
from evomerge.recipe.shape import Findings
from evomerge.recipe.yaml_document import read_all_yaml

logger = logging.getLogger(__name__)


def library() -> dict[str, Path]:
    """Return the shipped recipes by name."""
    folder = Path(__file__).parent / "library"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(path: str | Path, *, lenient: bool = False) -> Recipe:
    """Read a recipe file (or a shipped recipe by name); warnings go to the log.

    Args:
        path: a YAML file, or a name that `evomerge ls recipes` lists. Of several documents, one
            is the result and uses the others by their names.
        lenient: whether unknown keys and parameters are warnings instead of errors.

    Raises:
        RecipeError: listing every problem with its YAML path.
    """
    place = library().get(str(path), Path(path))
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(str(path), [Problem("", f"cannot be read: {reason}")]) from None
    recipe, warnings = parse_recipe(read_all_yaml(text, str(path)), str(path), lenient=lenient)
    for warning in warnings:
        logger.warning("%s: %s", path, warning)
    return recipe


def parse_recipe(
    document: Any, source: str = "recipe", *, lenient: bool = False
) -> tuple[Recipe, list[Problem]]:
    """Turn plain values into a Recipe.

    Args:
        document: a recipe's keys and values, or a list of the documents of one file.
        source: what to call it in messages: usually a file name.
        lenient: whether unknown keys and parameters are warnings instead of errors.

    Returns:
        The recipe, and warnings about what has no effect.

    Raises:
        RecipeError: listing every problem with its YAML path.
    """
    findings = Findings()
    documents = document if isinstance(document, list) else [document]
    try:
        recipe = read_documents(documents, findings, lenient=lenient)
    except RecursionError:
        raise RecipeError(source, [Problem("", "nested too deeply")]) from None
    if findings.problems or recipe is None:
        raise RecipeError(source, findings.problems)
    return recipe, findings.warnings
