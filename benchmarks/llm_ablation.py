"""Does a language model help an evolution strategy? The same loop with its advice, and without.

    python benchmarks/llm_ablation.py [--model FOLDER] [--seeds 5]

Rows: the model shown the fitness of what was tried, the model with fitness hidden, the mock (which
answers with the fittest point shown), Gaussian hill climbing, random search. Columns: toy functions
(the least value found), the embedded family (the winner's test score), and how many answers the
mean of the best stood in for on the toys. Prints a Markdown table: mean ± standard deviation over
the seeds.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from evomerge.config import parse_config
from evomerge.evolve import evolve
from evomerge.evolve.local_language_model import LocalLanguageModel
from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.space import Gene, SearchSpace
from evomerge.types import Ask

BUDGET, POPULATION = 64, 8
"""Evaluations, and of these in a generation: the model is asked 7 times."""
MOST_TOKENS = 48
PATIENCE: dict[str, Any] = {"max_retries": 1, "max_tokens": MOST_TOKENS}
"""A small model that has not answered with a list by then is rambling."""
OPTIMUM = 0.3
"""Where the toys are best, in every coordinate of the unit cube: not where a search begins."""
WIDTH = 4.0
"""Edge of the unit cube in the toys' own units."""


def sphere(x: np.ndarray) -> float:
    """Return the sum of squares."""
    return float((x**2).sum())


def rastrigin(x: np.ndarray) -> float:
    """Return a sphere with a dent at every integer point."""
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


def rosenbrock(x: np.ndarray) -> float:
    """Return the height in a bent valley, 0 at the origin."""
    y = x + 1.0
    return float((100 * (y[1:] - y[:-1] ** 2) ** 2 + (1 - y[:-1]) ** 2).sum())


TOYS: Mapping[str, tuple[Callable[[np.ndarray], float], int]] = {
    "sphere, 2": (sphere, 2),
    "sphere, 5": (sphere, 5),
    "rastrigin, 2": (rastrigin, 2),
    "rosenbrock, 2": (rosenbrock, 2),
}
ZOO: dict[str, Any] = {
    "genome": {
        "models": ["zoo:reverse", "zoo:sort", "zoo:successor", "zoo:duplicate"],
        "base_model": "zoo:base",
        "merge_method": "task_arithmetic",
        "dtype": "bfloat16",
    },
    "tasks": [
        {"name": name, "evaluator": "exact_match", "data": f"zoo:{name}", "max_new_tokens": 16}
        for name in ("reverse", "sort", "successor", "duplicate")
    ],
    "items": {"search": 50, "validation": 100, "test": 200},
    "racing": False,
}


def main() -> None:
    """Print the table, row by row."""
    arguments = parse_arguments()
    ask = LocalLanguageModel(str(arguments.model), MOST_TOKENS) if arguments.model else None
    rows = list_searchers(ask)
    seeds, toys = range(arguments.seeds), arguments.toys
    columns = [*toys, *(["zoo"] if arguments.zoo_seeds else [])]
    print(f"| search, {BUDGET} evaluations | {' | '.join(columns)} | answers replaced |")
    print("|---" * (len(columns) + 2) + "|")
    for label, (name, options) in rows.items():
        cells, replaced, asked = [], 0, 0
        for toy in toys:
            found = [minimise(toy, name, options, seed) for seed in seeds]
            cells.append(show([value for value, _ in found]))
            replaced += sum(getattr(searcher, "fallbacks", 0) for _, searcher in found)
            asked += len(found) * (BUDGET // POPULATION - 1)
        if arguments.zoo_seeds:
            scores = [search_zoo(name, options, s, arguments) for s in range(arguments.zoo_seeds)]
            cells.append(show(scores))
        share = f"{replaced} of {asked}" if name == "llm" else "–"
        print(f"| {label} | {' | '.join(cells)} | {share} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a model of this machine; else only the mock")
    parser.add_argument("--seeds", type=int, default=5, help="of the toy functions")
    parser.add_argument("--zoo-seeds", type=int, default=3, help="of the embedded family; 0: none")
    parser.add_argument("--toys", nargs="*", default=list(TOYS), choices=list(TOYS))
    return parser.parse_args()


def list_searchers(ask: Ask | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the rows: label -> searcher and its options."""
    llm: dict[str, tuple[str, dict[str, Any]]] = {}
    if ask:
        llm["llm"] = "llm", {"ask": ask, **PATIENCE}
        llm["llm, fitness hidden"] = "llm", {"ask": ask, **PATIENCE, "show_fitness": False}
    return llm | {
        "llm, mock": ("llm", {"backend": "mock"}),
        "llm, mock, fitness hidden": ("llm", {"backend": "mock", "show_fitness": False}),
        "hill climbing": ("hill_climbing", {}),
        "hill climbing, mean of 5": ("hill_climbing", {"parents": 5}),
        "random": ("random", {}),
    }


def minimise(toy: str, name: str, options: dict[str, Any], seed: int) -> tuple[float, Searcher]:
    """Return the least value that a search finds, and the searcher."""
    function, size = TOYS[toy]
    space = SearchSpace([Gene(f"{k}") for k in range(size)])
    searcher = SEARCHERS.get(name)(space, seed=seed, population=POPULATION, **options)
    while searcher.asked < BUDGET:
        points = searcher.ask()
        losses = [function(WIDTH * (point - OPTIMUM)) for point in points]
        told = [Evaluated(p, (-loss,)) for p, loss in zip(points, losses, strict=True)]
        searcher.tell(told)
    assert searcher.best is not None
    return -searcher.best.objectives[0], searcher


def search_zoo(
    name: str, options: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> float:
    """Return the winner's score on the test items of the embedded family."""
    said = {k: v for k, v in options.items() if k != "ask"}
    if "ask" in options:
        said |= {"backend": "local", "model": str(arguments.model)}
    search = {"algorithm": name, "evaluations": BUDGET, "population": POPULATION, **said}
    with TemporaryDirectory() as folder:
        config = parse_config({"name": "zoo", "seed": seed, "search": search, **ZOO})
        result = evolve(config, runs=folder)
    return result.verdict.lines[0].overall.mean


def show(values: list[float]) -> str:
    """Return mean ± standard deviation."""
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.3g} ± {spread:.2g}"


if __name__ == "__main__":
    main()
