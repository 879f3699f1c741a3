"""Scores of every model of a search on every item: what estimators are measured on."""

import argparse
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from evaluation_runs import change, run_once
from numpy.typing import NDArray

from evomerge.config import RunConfig, load_config
from evomerge.statistics import ItemResponse, fit_item_response
from evomerge.store import FILE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """Scores of models on items.

    Attributes:
        scores: shape (models, items).
        groups: task of every item, shape (items,).
        parents: how many of the models, the first ones, are parents.
    """

    scores: Array
    groups: NDArray[np.int64]
    parents: int

    def part(self, models: slice) -> "Responses":
        """Return some of the models."""
        return Responses(self.scores[models], self.groups, self.parents)

    @cached_property
    def tasks(self) -> list[NDArray[np.int64]]:
        """Positions of the items of every task."""
        return [np.flatnonzero(self.groups == g) for g in range(self.groups.max() + 1)]

    @cached_property
    def ranking(self) -> NDArray[np.int64]:
        """Models, best first."""
        return np.asarray(np.argsort(-self.objectives, kind="stable"))

    @cached_property
    def objectives(self) -> Array:
        """Mean over tasks of the mean score, shape (models,)."""
        return np.mean([self.scores[:, task].mean(axis=1) for task in self.tasks], axis=0)

    @cached_property
    def rasch(self) -> ItemResponse:
        """Items of one parameter."""
        return fit_item_response(self.scores, self.groups, discriminate=False)

    @cached_property
    def two_parameters(self) -> ItemResponse:
        """Items of two parameters."""
        return fit_item_response(self.scores, self.groups)


def read_responses(config: RunConfig, runs: Path) -> Responses:
    """Search without racing, unless that is done, and return what its models scored."""
    folder = run_once(config, runs)
    with closing(sqlite3.connect(folder / FILE)) as store:
        rows = store.execute(
            "SELECT stage, fingerprint FROM candidates WHERE state = 'done'"
            " AND stage IN ('probe', 'search') ORDER BY number"
        ).fetchall()
        scores: dict[str, dict[tuple[str, str], float]] = {model: {} for _, model in rows}
        for model, task, item, score in store.execute("SELECT * FROM scores"):
            if model in scores:
                scores[model][task, item] = score
    items = sorted(set.intersection(*map(set, scores.values())))
    names = sorted({task for task, _ in items})
    return Responses(
        np.array([[found[key] for key in items] for found in scores.values()]),
        np.array([names.index(task) for task, _ in items]),
        len({model for stage, model in rows if stage == "probe"}),
    )


def collect(arguments: argparse.Namespace, runs: Path) -> dict[str, list[Responses]]:
    """Return the responses of all runs, by family."""
    quick = getattr(arguments, "quick", False)
    plain = {"racing": False, "finalists": 1, "executor": {"name": "local", "threads": 1}}
    items = {"search": 100, "validation": 10, "test": 10}
    if quick:
        plain["search"] = {"algorithm": "cma", "evaluations": 70, "mean": 0.3}
    demo = load_config("demo")
    families = {
        "zoo": [
            read_responses(
                change(demo, {**plain, "items": items, "name": f"zoo-{seed}", "seed": seed}), runs
            )
            for seed in range(2 if quick else arguments.seeds)
        ]
    }
    if arguments.smollm2 and not quick:
        real = load_config(arguments.smollm2 / "evolve.yml")
        families["SmolLM2"] = [read_responses(change(real, {**plain, "name": "smollm2"}), runs)]
    return families
