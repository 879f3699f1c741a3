"""Measurements as lm-evaluation-harness writes its results files, and what we know beyond that.

What reads the harness' files finds everything where it looks for it, under the same names and, of
the same tasks, with the same values; intervals and paired tests stand under the key `evomerge`.
https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/interface.md
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from evomerge import __version__
from evomerge.checkpoints.locate import parse_reference
from evomerge.evaluation import Task
from evomerge.evaluation.harness.grouping import Grouping, sum_up_group
from evomerge.evolve.measurement.reported_tasks import REPORTED, WHOLE
from evomerge.evolve.measurement.side_by_side import Measured, SideBySide
from evomerge.evolve.measurement.standings import find_groups, leaves
from evomerge.evolve.measurement.tally import Tally

MEANS = ("mean", "nanmean", "brier_score")
"""Aggregations of the harness that are means over documents."""

PER_DOCUMENT = "_of_documents"
"""Added to the names of metrics that the harness sums up otherwise: ours is another number."""

METRIC = ("score", "none")
"""Metric and filter of evaluators that are not the harness'."""

SEED = 1234
"""With which the harness, and we in its place, draw examples."""

Facts = Mapping[str, Any]
"""What the harness says of a task, and the like of one it does not know."""


def write_results(found: SideBySide) -> list[dict[str, Any]]:
    """Return one document per model that could be measured, in their order, of plain values."""
    facts, groups = {task.name: _facts(task) for task in found.tasks}, find_groups(found.tasks)
    shared = _write_tasks(found.tasks, facts, groups)
    return [
        shared | _write(found, place, facts, groups)
        for place, model in enumerate(found.models)
        if not model.failure
    ]


def name_folder(model: str) -> str:
    """Return what the harness calls the folder of a model's results."""
    return re.sub(r"[\"<>:/\|\?\*\[\]]+", "__", model)


def name_file(document: Mapping[str, Any]) -> str:
    """Return the harness' name for a results file: `results_2026-01-31T12-30-00.000000.json`."""
    moment = datetime.fromtimestamp(document["date"]).isoformat()
    return f"results_{moment.replace(':', '-')}.json"


def spell_metric(name: str, aggregation: str) -> str:
    """Return what a mean over documents is called, by how the harness sums the metric up."""
    return name if aggregation in MEANS else name + PER_DOCUMENT


def name_metric(task: Task) -> str:
    """Return 'metric,filter' that a task of the harness is measured by; '' of other tasks."""
    facts = task.evaluator.description
    if not facts:
        return ""
    full = f"{facts['metric']},{facts['filter']}"
    return f"{spell_metric(facts['metric'], facts['aggregations'][full])},{facts['filter']}"


def _write_tasks(
    tasks: Sequence[Task], facts: Mapping[str, Facts], groups: Mapping[str, Grouping]
) -> dict[str, Any]:
    """Return what is the same for all models."""
    shots = {name: fact["num_fewshot"] or 0 for name, fact in facts.items()}
    better = {name: fact["directions"] for name, fact in facts.items()}
    for name, group in reversed(list(groups.items())):  # what is below comes before
        _hand_up(name, group, shots, better)
    return {
        "group_subtasks": {name: list(group.members) for name, group in groups.items()},
        "configs": {name: {"task": name, **fact["config"]} for name, fact in facts.items()},
        "versions": {name: fact["version"] for name, fact in facts.items()}
        | {name: group.version for name, group in groups.items()},
        "n-shot": shots,
        "higher_is_better": better,
        "n-samples": {
            task.name: {
                "original": facts[task.name]["original"],
                "effective": len(task.items[REPORTED]),
            }
            for task in tasks
        },
    }


def _hand_up(
    name: str, group: Grouping, shots: dict[str, int], better: dict[str, dict[str, bool | None]]
) -> None:
    """Say of a group what all its members agree in."""
    numbers = {shots[member] for member in group.members if member in shots}
    if len(numbers) == 1:
        shots[name] = numbers.pop()
    found: dict[str, bool | None] = {}
    for member in group.members:
        for metric, higher in better.get(member, {}).items():
            found[metric] = higher if found.get(metric, higher) == higher else None
    if found:
        better[name] = found


def _write(
    found: SideBySide, place: int, facts: Mapping[str, Facts], groups: Mapping[str, Grouping]
) -> dict[str, Any]:
    model = found.models[place]
    reference = model.contestant.reference
    results = {t.name: _result(t, facts[t.name], model.tallies[t.name]) for t in found.tasks}
    below = {name: leaves(name, groups) for name in groups}
    totals = {name: sum_up_group(group, below[name], results) for name, group in groups.items()}
    summed = {name: total for name, total in totals.items() if groups[name].aggregates}
    return {
        "results": totals | results,
        **({"groups": summed} if summed else {}),
        "config": _config(found, model),
        "date": model.began,
        **_versions(),
        **{name: v for name, v in model.facts.items() if not name.startswith("model_")},
        **_prompting(facts, model),
        "task_hashes": {t.name: _hash(t, facts[t.name], model) for t in found.tasks},
        "model_source": "evomerge",
        "model_name": reference,
        "model_name_sanitized": name_folder(reference),
        "start_time": model.began,
        "end_time": model.ended,
        "total_evaluation_time_seconds": str(model.ended - model.began),
        "evomerge": {
            "version": __version__,
            "compared_with": found.models[0].contestant.reference,
            "overall": asdict(found.overall[place]),
            "groups": {name: asdict(group.models[place]) for name, group in found.by_group.items()},
            "tasks": {name: asdict(models[place]) for name, models in found.by_task.items()},
            "audit": {name: dict(tally.audit) for name, tally in model.tallies.items()},
        },
    }


def _config(found: SideBySide, model: Measured) -> dict[str, Any]:
    reference, folder = model.contestant.reference, model.contestant.folder
    snapshot = folder is not None and folder.parent.name == "snapshots"  # of the hub's cache
    return {
        "model": "evomerge",
        "model_args": {"pretrained": reference},
        "model_revision": parse_reference(reference).revision or "main",
        "model_sha": folder.name if folder and snapshot else "",
        **{name: value for name, value in model.facts.items() if name.startswith("model_")},
        "batch_size": None,
        "batch_sizes": [],
        "use_cache": None,
        "gen_kwargs": {},
        "fewshot_seed": SEED,
        **found.settings,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("transformers", "lm_eval"):
        try:
            found[f"{name}_version"] = version(name)
        except PackageNotFoundError:
            found[f"{name}_version"] = "N/A"
    return found


def _prompting(facts: Mapping[str, Facts], model: Measured) -> dict[str, Any]:
    """Return how questions became prompts: of the first task that says so."""
    stated = next((fact["prompting"] for fact in facts.values() if fact["prompting"]), None)
    system = stated.system_instruction if stated else None
    template = model.facts.get("chat_template") if stated and stated.apply_chat_template else None
    return {
        "system_instruction": system,
        "system_instruction_sha": _sha(system) if system else None,
        "fewshot_as_multiturn": stated.fewshot_as_multiturn if stated and template else None,
        "chat_template": template,
        "chat_template_sha": _sha(str(template)) if template else None,
    }


def _hash(task: Task, facts: Facts, model: Measured) -> str:
    """Return the harness' hash of what was asked, or one of the items."""
    hashes = model.tallies[task.name].hashes or [item.key for item in task.items[REPORTED]]
    return _sha("".join(hashes) * facts["filters"])  # the harness notes a question once per filter


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(task: Task) -> Facts:
    higher = task.evaluator.higher_is_better
    own: dict[str, Any] = {
        "alias": task.name,
        "version": 0,
        "num_fewshot": 0,
        "metric": METRIC[0],
        "filter": METRIC[1],
        "original": len(task.items[WHOLE]),
        "aggregations": {},
        "directions": {METRIC[0]: higher},
        "filters": 1,
        "prompting": None,
        "config": {},
    }
    facts = own | dict(task.evaluator.description)
    spelled = {name.partition(",")[0]: way for name, way in facts["aggregations"].items()}
    ours = {
        spell_metric(name, way): facts["directions"][name]
        for name, way in spelled.items()
        if name in facts["directions"]
    }
    return facts | {"directions": {**facts["directions"], **ours}}


def _result(task: Task, facts: Facts, tally: Tally) -> dict[str, Any]:
    chosen = f"{facts['metric']},{facts['filter']}"
    noted = {chosen: tally.scores, **tally.noted}
    size = len(task.items[REPORTED])
    result: dict[str, Any] = {"name": task.name, "alias": facts["alias"], "sample_len": size}
    for metric, values in noted.items():
        name, _, kept = metric.partition(",")
        name = spell_metric(name, facts["aggregations"].get(metric, "mean"))
        result[f"{name},{kept}"] = float(np.mean(values))
        result[f"{name}_stderr,{kept}"] = _error(values) if task.evaluator.per_item else "N/A"
    for metric, value in tally.summed.items():
        name, _, kept = metric.partition(",")
        if f"{name},{kept}" not in result:
            result |= {f"{name},{kept}": value, f"{name}_stderr,{kept}": "N/A"}
    return result


def _error(values: Sequence[float]) -> float | str:
    """Return the standard error of a mean, as the harness does."""
    if len(values) < 2:
        return "N/A"
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))
