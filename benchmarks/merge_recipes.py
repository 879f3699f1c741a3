"""The recipes that benchmarks/merge.py runs: usual settings, every weight and density at work."""

from pathlib import Path
from typing import Any

WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.4}
WEIGHTED = [{"model": m, "parameters": {"weight": w}} for m, w in WEIGHTS.items()]
PLAIN = [{"model": m} for m in WEIGHTS]
PAIR = [{"model": "base"}, {"model": "a"}]
TASK = {"base_model": "base", "models": WEIGHTED}
SPARSE = {**TASK, "parameters": {"density": 0.5}}
RECIPES: dict[str, dict[str, Any]] = {
    "passthrough": {"models": [{"model": "a"}]},
    "linear": {"models": WEIGHTED},
    "slerp": {"base_model": "base", "models": PAIR, "parameters": {"t": 0.3}},
    "nuslerp": {"models": WEIGHTED[:2]},
    "multislerp": {"models": WEIGHTED},
    "karcher": {"models": PLAIN},
    "task_arithmetic": TASK,
    "ties": SPARSE,
    "dare_linear": SPARSE,
    "dare_ties": SPARSE,
    "della_linear": SPARSE,
    "della": SPARSE,
    "breadcrumbs": SPARSE,
    "breadcrumbs_ties": SPARSE,
    "sce": {"base_model": "base", "models": PLAIN},
    "model_stock": {"base_model": "base", "models": PLAIN},
    "nearswap": {"base_model": "base", "models": PAIR, "parameters": {"t": 0.001}},
    "arcee_fusion": {"base_model": "base", "models": PAIR},
    "ram": {"base_model": "base", "models": PLAIN},
    "ramplus_tl": {"base_model": "base", "models": PLAIN},
    "tsv_m": {"base_model": "base", "models": PLAIN},
    "iso_c": {"base_model": "base", "models": PLAIN},
    "iso_cts": {"base_model": "base", "models": PLAIN},
    "lines": TASK,
}


def make_recipe(method: str, family: Path) -> tuple[dict[str, Any], int]:
    """Return the document, models named by whole paths, and how many checkpoints it reads."""
    recipe = RECIPES[method]
    models = [{**entry, "model": str(family / entry["model"])} for entry in recipe["models"]]
    document = {"merge_method": method, **recipe, "models": models, "dtype": "bfloat16"}
    if "base_model" in recipe:
        document["base_model"] = str(family / recipe["base_model"])
    names = {entry["model"] for entry in models} | {document.get("base_model")}
    return document, len(names - {None})
