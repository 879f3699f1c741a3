"""Run files and recipes of a two-alphabet family, written beside its models.

Every run searches on the same two tasks. Budgets are the same but for the grid, for what is called
longer, and for PS with DFS, whose weights alone have as many. The recipes are those people use
without searching; they name models from the family's folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from evomerge.zoo.alphabets.lines import LENGTH, SKILL

Document = Mapping[str, Any]

BASE, LANGUAGE, SKILLED = "models/base", "models/language", "models/skill"
DISTRACTORS: Final = ("models/distractor1", "models/distractor2")
EVALUATIONS: Final = 240
TASKS: Final = "tasks.yml"

# The case of an answer does not count, its alphabet does: so what is right in the other language
# is told from what is wrong.
ANSWERS: Final = {"evaluator": "exact_match", "max_new_tokens": LENGTH + 1, "ignore_case": True}
GATE: Final = {"language": "capital", "detector": "alphabet:A-P"}
GATED: Final = tuple(
    {"name": task, "data": f"tasks/{task}.jsonl", **ANSWERS, **GATE} for task in SKILL
)
UNGATED: Final = tuple(
    {"name": f"{task}_in_any", "data": f"tasks/{task}.jsonl", **ANSWERS} for task in SKILL
)
"""The same items, right in any alphabet."""

# Two layers a group: at so small a budget 18 genes do as well as 34.
WEIGHTS: Final = {
    "base_model": BASE,
    "merge_method": "task_arithmetic",
    "layer_granularity": 2,
    "filters": {
        "attention": ["self_attn", "input_layernorm"],
        "mlp": ["mlp", "post_attention_layernorm"],
    },
    "ranges": {"weight": [-0.5, 1.5]},
}
ONE_WEIGHT: Final = {
    "base_model": BASE,
    "merge_method": "task_arithmetic",
    "own_embeddings": False,
    "ranges": {"weight": [0.0, 1.2]},
}
PATH: Final = {"space": "data_flow", "repeats": 2, "scales": "slots"}
CMA: Final = {"algorithm": "cma", "evaluations": EVALUATIONS, "sigma": 0.125}
TWICE: Final = {"evaluations": 2 * EVALUATIONS}
CATCMA: Final = {"algorithm": "catcma", "evaluations": EVALUATIONS}
GRID: Final = {"algorithm": "grid", "evaluations": 49, "steps": 7}


def _run(models: tuple[str, ...], genome: Document, search: Document) -> Document:
    return {
        "seed": 0,
        "genome": {"models": list(models), **genome},
        "tasks": list(GATED),
        "racing": False,  # so small a model takes nearly as long for few items as for all
        "search": search,
    }


BOTH: Final = (LANGUAGE, SKILLED)
RUNS: Final[dict[str, Document]] = {
    "grid": _run(BOTH, ONE_WEIGHT, GRID),
    "ps": _run(BOTH, WEIGHTS, CMA),
    "ps_longer": _run(BOTH, WEIGHTS, CMA | TWICE),
    "ps_language": _run((LANGUAGE,), WEIGHTS, CMA),
    "ps_skill": _run((SKILLED,), WEIGHTS, CMA),
    "ps_distractors": _run((*BOTH, *DISTRACTORS), WEIGHTS, CMA),
    "dfs": _run(BOTH, PATH, CATCMA),
    "dfs_unscaled": _run(BOTH, PATH | {"scales": "none"}, CATCMA),
    "dfs_once": _run(BOTH, PATH | {"repeats": 1}, CATCMA),
    "dfs_distractors": _run((*BOTH, *DISTRACTORS), PATH, CATCMA),
    "depth_wise": _run(BOTH, {"space": "depth_wise"}, CATCMA),
    "ps_dfs": _run(BOTH, WEIGHTS | PATH | {"space": "both"}, CATCMA | TWICE),
}
"""Run file -> its document. Those with `space` search for paths; of both, weights come first, and
have half of the budget."""


def _weighted(weight: float, **parameters: Any) -> list[Document]:
    return [{"model": m, "parameters": {"weight": weight, **parameters}} for m in BOTH]


def _slice(model: str, first: int, end: int) -> Document:
    return {"sources": [{"model": model, "layer_range": [first, end]}]}


RECIPES: Final[dict[str, Document]] = {
    "uniform": {"merge_method": "linear", "models": _weighted(0.5)},
    "ties": {"merge_method": "ties", "base_model": BASE, "models": _weighted(1.0, density=0.2)},
    "dare_ties": {
        "merge_method": "dare_ties",
        "base_model": BASE,
        "models": _weighted(0.5, density=0.5),
        "parameters": {"rescale": "paper"},
    },
    "frankenmerge": {
        "merge_method": "passthrough",
        "slices": [_slice(LANGUAGE, 0, 4), _slice(SKILLED, 2, 6), _slice(LANGUAGE, 4, 8)],
    },
}
"""Recipe -> its document: TIES and DARE-TIES as every run compares itself with them."""


def write_runs(folder: Path) -> None:
    """Write `<name>.yml` for all runs and recipes, and the tasks for `evomerge eval`."""
    documents = RUNS | RECIPES | {Path(TASKS).stem: {"tasks": [*GATED, *UNGATED]}}
    for name, document in documents.items():
        text = _Plain.write(document)
        (folder / f"{name}.yml").write_text(text, encoding="utf-8", newline="\n")


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice, not as an anchor."""

    @classmethod
    def write(cls, document: Document) -> str:
        return yaml.dump(document, Dumper=cls, sort_keys=False, default_flow_style=None)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - nothing is an alias
        return True
