"""The rows of the table: what each searches, and with which options."""

from pathlib import Path
from typing import Any, NamedTuple

from evomerge.config import RunConfig, load_config, parse_config

EVALUATIONS, QUICK = 200, 24
ITEMS = {"search": 100, "validation": 300, "test": 300}
SCORER = Path(__file__).parent / "search_scorer.py"


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        label: what it is called.
        search: the searcher and its options.
        genome: what the genome says otherwise than the demo's; None removes a key.
        run: what else the run file says.
    """

    label: str
    search: dict[str, Any]
    genome: dict[str, Any] = {}  # noqa: RUF012 - nobody writes into it
    run: dict[str, Any] = {}  # noqa: RUF012 - likewise


NO_METHOD = {"merge_method": None, "filters": None}
ANCESTRY = {"space": "ancestry", **NO_METHOD}
TECHNIQUES = {"space": "techniques", **NO_METHOD, "base_model": None, "layer_granularity": None}
FOUR_GENES = {"layer_granularity": None, "filters": None, "own_embeddings": False}
SVD = {"merge_method": "svd_task_arithmetic"}
TWO_GOALS = {"objectives": ["sort", "duplicate"]}
ROWS = {
    "random": Row("random", {"algorithm": "random"}),
    "grid": Row("grid, 3 steps of 4 genes", {"algorithm": "grid", "steps": 3}, FOUR_GENES),
    "cma": Row("cma", {"algorithm": "cma"}),
    "cma_demo": Row("cma, mean 0.3 (the demo's)", {"algorithm": "cma", "mean": 0.3}),
    "cma_warm": Row("cma, warm start", {"algorithm": "cma", "warm_start": True}),
    "cma_staged": Row(
        "cma, warm start, groups of 4, 2, then 1 layer",
        {"algorithm": "cma", "warm_start": True},
        {"layer_granularity": None, "refine": [4, 2, 1]},
    ),
    "cma_lra": Row(
        "cma, learning-rate adaptation",
        {"algorithm": "cma", "mean": 0.3, "learning_rate_adaptation": True},
    ),
    "sep_cma": Row("sep_cma", {"algorithm": "sep_cma"}),
    "catcma": Row("catcma", {"algorithm": "catcma"}),
    "mixed_ga": Row("mixed_ga", {"algorithm": "mixed_ga"}),
    "hill_climbing": Row("hill_climbing", {"algorithm": "hill_climbing"}),
    "llm_mock": Row("llm, mock backend", {"algorithm": "llm", "backend": "mock"}),
    "nsga2": Row("nsga2, four goals", {"algorithm": "nsga2"}),
    "nsga3": Row("nsga3, four goals", {"algorithm": "nsga3"}),
    "como_catcma": Row(
        "como_catcma, goals sort and duplicate", {"algorithm": "como_catcma"}, {}, TWO_GOALS
    ),
    "map_elites": Row("map_elites", {"algorithm": "map_elites"}),
    "cycle_qd": Row("cycle_qd, four goals", {"algorithm": "cycle_qd"}),
    "cycle_qd_svd": Row(
        "cycle_qd, four goals, svd_task_arithmetic", {"algorithm": "cycle_qd"}, SVD
    ),
    "natural_niches": Row("natural_niches", {"algorithm": "natural_niches"}),
    "natural_niches_ancestry": Row(
        "natural_niches, space: ancestry", {"algorithm": "natural_niches"}, ANCESTRY
    ),
    "tournament": Row("tournament", {"algorithm": "tournament"}),
    "tournament_techniques": Row(
        "tournament, space: techniques", {"algorithm": "tournament"}, TECHNIQUES
    ),
}


def make_config(name: str, seed: int, *, quick: bool = False) -> RunConfig:
    """Return the run file of a row: the demo's, with another search."""
    row = ROWS[name]
    demo = load_config("demo").model_dump(exclude_unset=True)
    genome = {k: v for k, v in {**demo["genome"], **row.genome}.items() if v is not None}
    tasks = [
        {
            "name": task["name"],
            "evaluator": "python_function",
            "function": f"{SCORER}:score",
            "data": task["data"],
        }
        for task in demo["tasks"]
    ]
    return parse_config(
        {
            "name": f"{name}-{seed}",
            "seed": seed,
            "genome": genome,
            "tasks": tasks,
            "search": {**row.search, "evaluations": QUICK if quick else EVALUATIONS},
            "items": dict.fromkeys(ITEMS, 20) if quick else ITEMS,
            "racing": False,
            "export": False,
            "executor": {"name": "local", "threads": 1},
            **row.run,
        }
    )
