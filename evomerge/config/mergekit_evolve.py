"""Files written for mergekit-evolve, as they are: its keys, its defaults, and one warning."""

import logging
from typing import Any

logger = logging.getLogger(__name__)

KEYS = {
    *("name", "genome", "tasks", "limit", "num_fewshot", "shuffle", "random_init"),
    *("apply_chat_template", "fewshot_as_multiturn"),
}
TASK_KEYS = {"name", "weight", "metric"}


def is_foreign(document: Any) -> bool:
    """Tell whether a run file says nothing that mergekit-evolve would not understand."""
    if not isinstance(document, dict) or not document.keys() <= KEYS:
        return False
    tasks, genome = document.get("tasks"), document.get("genome")
    if isinstance(genome, dict) and "space" in genome:
        return False
    return isinstance(tasks, list) and bool(tasks) and all(_is_foreign_task(t) for t in tasks)


def translate(document: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a file of mergekit-evolve's as a run file; what differs there is told in the log.

    Args:
        document: its keys and values.
        source: what to call it.
    """
    logger.warning(
        "%s is written for mergekit-evolve: public test sets are not refused, but the verdict says "
        "so; items are drawn by seed, whether `shuffle` is set or not, and divided into search, "
        "validation and test; chat templates are applied where the tokenizer has one%s",
        source,
        " unless the file says no" if "apply_chat_template" in document else "",
    )
    tasks = [{"name": task} if isinstance(task, str) else task for task in document["tasks"]]
    template = "auto" if document.get("apply_chat_template", True) is True else False
    return {
        **{key: value for key, value in document.items() if key != "shuffle"},
        "tasks": tasks,
        "apply_chat_template": template,
        "i_know_this_is_the_test_set": True,
    }


def _is_foreign_task(task: Any) -> bool:
    return isinstance(task, str) or (isinstance(task, dict) and task.keys() <= TASK_KEYS)
