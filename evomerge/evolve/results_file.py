"""Measurements as lm-evaluation-harness writes its results files, and what we know beyond that.

What reads the harness' files finds results, versions, n-shot, n-samples, configs and config where
it looks for them; intervals and paired tests stand under the key `evomerge`.
https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/interface.md
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from evomerge import __version__
from evomerge.evaluation import Task
from evomerge.evolve.reported_tasks import REPORTED, WHOLE
from evomerge.evolve.side_by_side import Measured, SideBySide

MEANS = ("mean", "nanmean", "brier_score")
"""Aggregations of the harness that are means over documents."""

PER_DOCUMENT = "_of_documents"
"""Added to the names of metrics that the harness sums up otherwise: ours is another number."""

METRIC = ("score", "none")
"""Metric and filter of evaluators that are not the harness'."""


def write_results(found: SideBySide) -> list[dict[str, Any]]:
    """Return one document per model that could be measured, in their order, of plain values."""
    return [_write(found, place) for place, m in enumerate(found.models) if not m.failure]


def name_folder(model: str) -> str:
    """Return what the harness calls the folder of a model's results."""
    return re.sub(r"[\"<>:/\|\\?\*\[\]]+", "__", model)


def spell_metric(name: str, aggregation: str) -> str:
    """Return what a mean over documents is called, by how the harness sums the metric up."""
    return name if aggregation in MEANS else name + PER_DOCUMENT


def _write(found: SideBySide, place: int) -> dict[str, Any]:
    model = found.models[place]
    reference = model.contestant.reference
    facts = {task.name: _facts(task) for task in found.tasks}
    return {
        "results": {task.name: _result(task, facts[task.name], model) for task in found.tasks},
        "group_subtasks": {name: [] for name in facts},
        "configs": {name: {"task": name, **fact["config"]} for name, fact in facts.items()},
        "versions": {name: fact["version"] for name, fact in facts.items()},
        "n-shot": {name: fact["num_fewshot"] or 0 for name, fact in facts.items()},
        "higher_is_better": {
            name: {fact["metric"]: fact["higher_is_better"]} for name, fact in facts.items()
        },
        "n-samples": {
            task.name: {
                "original": facts[task.name]["original"],
                "effective": len(task.items[REPORTED]),
            }
            for task in found.tasks
        },
        "config": {"model": "evomerge", "model_args": f"pretrained={reference}", **found.settings},
        "date": model.began,
        "model_source": "evomerge",
        "model_name": reference,
        "model_name_sanitized": name_folder(reference),
        "start_time": model.began,
        "end_time": model.ended,
        "total_evaluation_time_seconds": str(model.ended - model.began),
        "evomerge": {
            "version": __version__,
            "overall": asdict(found.lines[place]),
            "tasks": {name: asdict(lines[place]) for name, lines in found.by_task.items()},
            "compared_with": found.models[0].contestant.reference,
            "audit": model.audit,
        },
    }


def name_file(document: Mapping[str, Any]) -> str:
    """Return the harness' name for a results file: `results_2026-01-31T12-30-00.000000.json`."""
    moment = datetime.fromtimestamp(document["date"]).isoformat()
    return f"results_{moment.replace(':', '-')}.json"


def _facts(task: Task) -> dict[str, Any]:
    """Return what the harness says of a task, and the like of one it does not know."""
    own = {
        "alias": task.name,
        "version": 0,
        "num_fewshot": 0,
        "metric": METRIC[0],
        "filter": METRIC[1],
        "higher_is_better": task.evaluator.higher_is_better,
        "original": len(task.items[WHOLE]),
        "aggregations": {},
        "config": {},
    }
    return own | dict(getattr(task.evaluator, "description", {}))


def _result(task: Task, facts: Mapping[str, Any], model: Measured) -> dict[str, Any]:
    chosen = f"{facts['metric']},{facts['filter']}"
    noted = {chosen: list(model.scores[task.name].values()), **model.noted[task.name]}
    result: dict[str, Any] = {"alias": facts["alias"]}
    for metric, values in noted.items():
        name, _, kept = metric.partition(",")
        name = spell_metric(name, facts["aggregations"].get(metric, "mean"))
        result[f"{name},{kept}"] = float(np.mean(values))
        result[f"{name}_stderr,{kept}"] = _error(values) if task.evaluator.per_item else "N/A"
    for metric, value in model.summed[task.name].items():
        name, _, kept = metric.partition(",")
        if f"{name},{kept}" not in result:
            result |= {f"{name},{kept}": value, f"{name}_stderr,{kept}": "N/A"}
    return result


def _error(values: Sequence[float]) -> float | str:
    """Return the standard error of a mean, as the harness does."""
    if len(values) < 2:
        return "N/A"
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))
