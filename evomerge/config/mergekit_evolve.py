"""Files written for mergekit-evolve, as they are: its keys, its defaults, and one warning."""

import logging
from typing import Any

logger = logging.getLogger(__name__)

KEYS = {
    *("name", "genome", "tasks", "limit", "num_fewshot", "shuffle", "random_init"),
    *("apply_chat_template", "fewshot_as_multiturn"),
}
PARAMETERS = {
    "linear": ("weight",),
    "task_arithmetic": ("weight",),
    "ties": ("weight", "density"),
    "dare_ties": ("weight", "density"),
}
"""Method -> what mergekit-evolve seeks of every model."""
NORMALIZED = ("linear", "ties", "dare_ties")
"""Methods whose weights mergekit-evolve normalizes unless the file says no."""
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
    genome = document["genome"]
    if isinstance(genome, dict):
        genome = _translate_genome(genome, random=bool(document.get("random_init")))
    tasks = [{"name": task} if isinstance(task, str) else task for task in document["tasks"]]
    template = "auto" if document.get("apply_chat_template", True) is True else False
    return {
        **{key: value for key, value in document.items() if key != "shuffle"},
        "genome": genome,
        "tasks": tasks,
        "apply_chat_template": template,
        "i_know_this_is_the_test_set": True,
    }


def _translate_genome(genome: dict[str, Any], *, random: bool) -> dict[str, Any]:
    """Return a genome that has the genes of mergekit-evolve's, and begins where it does.

    Embeddings and head go with the first and the last layers. Of two models that are rotated
    towards each other, the first is the base.
    """
    genome = {"own_embeddings": False} | genome
    method, models = genome.get("merge_method"), genome.get("models")
    if not isinstance(method, str) or not isinstance(models, list):
        return genome
    if not all(isinstance(model, str) and model for model in models):
        return genome
    if genome.get("normalize") is None and method in NORMALIZED:
        genome["normalize"] = True
    if method == "slerp" and len(models) == 2 and not genome.get("base_model"):
        genome["base_model"] = models[0]
    if method in PARAMETERS and models and not random:
        genome.setdefault("start", _begin(genome, models, PARAMETERS[method]))
    return genome


def _begin(genome: dict[str, Any], models: list[str], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the merge at which mergekit-evolve begins: equal weights, and nothing left out."""
    values = {"weight": round(1 / len(models), 6), "density": 1.0}
    method, base = genome["merge_method"], genome.get("base_model")
    fixed = {"normalize": genome["normalize"]} if genome.get("normalize") is not None else {}
    if method == "dare_ties":
        fixed["rescale"] = "paper"  # as genomes have it; nothing is left out that it would scale
    document = {
        "merge_method": method,
        "models": [{"model": model} for model in models],
        "parameters": {name: values[name] for name in names} | fixed,
    }
    return document | ({"base_model": base} if base and method != "linear" else {})


def _is_foreign_task(task: Any) -> bool:
    return isinstance(task, str) or (isinstance(task, dict) and task.keys() <= TASK_KEYS)
