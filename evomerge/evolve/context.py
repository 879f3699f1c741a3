"""Whether models read as much at once as tasks ask them, found out before work starts."""

from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation import Task

KEYS = ("n_positions", "max_position_embeddings", "n_ctx")
"""Where a model's config.json states its context, as the live model reads it."""


def read_context(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a model reads at once, as config.json states it, if it does."""
    text = config.get("text_config")
    stated = text if isinstance(text, Mapping) else config
    found = next((stated[key] for key in KEYS if stated.get(key)), None)
    return int(found) if isinstance(found, (int, float)) else None


def check_context(tasks: Sequence[Task], reference: str, context: int | None) -> None:
    """Check that a model's context is as long as tasks need; one that nobody states is.

    Raises:
        EvaluationError: it is shorter.
    """
    asking = [task for task in tasks if task.evaluator.subject == "model"]
    hungriest = max(asking, key=lambda task: task.evaluator.context, default=None)
    if hungriest and context is not None and hungriest.evaluator.context > context:
        name, needed = hungriest.name, hungriest.evaluator.context
        raise EvaluationError(
            f"task {name} needs a context of {needed} tokens, and {reference} has {context}",
            "Name other tasks (with --tasks, they stand in the place of the built-in suite)",
        )
