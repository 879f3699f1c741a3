"""All searchers on the embedded family, several seeds each: whole runs, side by side.

A run is an ordinary one of `evomerge evolve` on the demo's models and tasks, in one thread. Beside
what its verdict says, the store tells when the search first reached the best recipe that needs no
search, and the hypervolume of all it found: over the four tasks, above 0, on the search items.
"""

import argparse
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from evaluation import keep, read_record
from evaluation_runs import run_once
from search_rows import EVALUATIONS, ROWS, make_config

from evomerge.config import RunConfig
from evomerge.evolve.build import build_executor, build_tasks
from evomerge.evolve.prepare import prepare
from evomerge.evolve.provenance import record_run
from evomerge.evolve.trials import Trials
from evomerge.evolve.verdict import read_verdict
from evomerge.pareto import hypervolume
from evomerge.records import Evaluated
from evomerge.store import RunStore, open_store

REFERENCE = "reference"
UNIFORM = "uniform linear"


def run(chosen: argparse.Namespace) -> str:
    """Carry out every run that is not kept yet; return the table."""
    chosen.results.mkdir(parents=True, exist_ok=True)
    file, runs = chosen.results / "zoo.json", chosen.results / "runs"
    if REFERENCE not in read_record(file):
        keep(file, REFERENCE, score_defaults(runs, quick=chosen.quick))
    reference = read_record(file)[REFERENCE]
    threshold = max(scores["search"] for scores in reference.values())
    wanted = [
        (name, seed)
        for seed in range(1 if chosen.quick else chosen.seeds)
        for name in chosen.rows or ROWS
        if f"{name}, {seed}" not in read_record(file)
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(chosen.workers, mp_context=context) as pool:
        jobs = {pool.submit(search, *job, runs, threshold, chosen.quick): job for job in wanted}
        for job in as_completed(jobs):
            name, seed = jobs[job]
            found = job.result()
            if "failure" in found:
                print(f"{name}, {seed}: {found['failure']}", flush=True)
                continue
            keep(file, f"{name}, {seed}", found)
            print(f"{name}, {seed}: test {found['test']:.3f}", flush=True)
    return render(read_record(file))


def score_defaults(runs: Path, *, quick: bool) -> dict[str, dict[str, float]]:
    """Return what the recipes score that need no search: label -> split -> mean over the tasks."""
    config = make_config("random", 0, quick=quick)
    config = RunConfig.model_validate({**config.model_dump(exclude_unset=True), "name": REFERENCE})
    folder = runs / REFERENCE
    preparation = prepare(config, folder)
    models = [str(config.genome.base_model), *config.genome.models]
    with open_store(folder, write=True) as store, build_executor(config) as executor:
        record_run(store, config, preparation)
        fingerprints = preparation.models.fingerprints(models)
        trials = Trials(store, preparation.tasks, executor, fingerprints, config.seed)
        splits = {"search": "probe", "test": "test"}
        found = {
            split: trials.run(stage, 0, preparation.defaults, split)
            for split, stage in splits.items()
        }
    return {
        trial.label: {split: _overall(found[split][k]) for split in splits}
        for k, trial in enumerate(preparation.defaults)
    }


def _overall(result: Evaluated) -> float:
    return result.objectives[0] if result.overall is None else result.overall


def search(name: str, seed: int, runs: Path, threshold: float, quick: bool) -> dict[str, Any]:
    """Carry out a run, or go on with it; return what is told of it."""
    import torch

    torch.set_num_threads(1)
    try:
        config = make_config(name, seed, quick=quick)
        with open_store(run_once(config, runs)) as store:
            return measure(store, config, threshold)
    except Exception as error:  # the others go on
        traceback.print_exc()
        return {"failure": f"{type(error).__name__}: {error}"}


def measure(store: RunStore, config: RunConfig, threshold: float) -> dict[str, Any]:
    """Return what is told of a finished run."""
    row, candidates = store.run(), store.candidates("search")
    assert row is not None
    assert row.verdict is not None
    verdict = read_verdict(row.verdict)
    winner = verdict.lines[0]
    assert winner.overall is not None
    tasks = build_tasks(config)
    keys = {task.name: [item.key for item in task.items["search"]] for task in tasks}
    points = []
    for fingerprint in {one.fingerprint for one in candidates if one.objective is not None}:
        scores = {task.name: store.scores(fingerprint, task.key) for task in tasks}
        points.append([fmean(scores[name][key] for key in keys[name]) for name in keys])
    means = [fmean(point) for point in points]
    ahead = [k for k, one in enumerate(candidates, 1) if (one.objective or 0.0) > threshold]
    return {
        "search": verdict.search_score if verdict.search_score is not None else max(means),
        "validation": verdict.validation_score,
        "test": winner.overall.mean,
        "winner": winner.label,
        "reached": ahead[0] if ahead else None,
        "asked": len(candidates),
        "different": len(points),
        "failed": sum(one.objective is None for one in candidates),
        "hypervolume": hypervolume(points, [0.0] * len(keys)),
        "genes": len(candidates[0].genome or ()),
        "cpu": row.cpu_seconds,
    }


def render(record: dict[str, Any]) -> str:
    """Write the table, the best on test items first."""
    found = {name: [v for k, v in record.items() if k.startswith(f"{name}, ")] for name in ROWS}
    found = {name: runs for name, runs in found.items() if runs}
    order = sorted(found, key=lambda name: -fmean(run["test"] for run in found[name]))
    reference = record[REFERENCE]
    best = max(reference, key=lambda label: reference[label]["search"])
    scores = {label: f"{own['search']:.3f}, {own['test']:.3f}" for label, own in reference.items()}
    lines = [
        f"{EVALUATIONS} evaluations. On search and on test items, {UNIFORM} has {scores[UNIFORM]}; "
        f"the best default on search items, {best}, has {scores[best]}.",
        "",
        "| searcher | genes | seeds | search items | validation | test | ahead of the best default "
        "after | hypervolume | different merges | CPU s a run |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(_render_row(name, found[name]) for name in order),
    ]
    return "\n".join(lines)


def _render_row(name: str, runs: Sequence[dict[str, Any]]) -> str:
    cells = [
        ROWS[name].label,
        str(runs[0]["genes"]),
        str(len(runs)),
        *(_show([run[part] for run in runs]) for part in ("search", "validation", "test")),
        _show_reached([run["reached"] for run in runs]),
        _show([run["hypervolume"] for run in runs]),
        f"{fmean(run['different'] for run in runs):.0f}",
        f"{fmean(run['cpu'] for run in runs):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _show(values: Sequence[float]) -> str:
    """Write mean ± standard deviation."""
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"


def _show_reached(places: Sequence[int | None]) -> str:
    """Write the median, and in how many runs it never came to that."""
    never = sum(place is None for place in places)
    middle = median(place or EVALUATIONS + 1 for place in places)
    told = f"{middle:.0f}" if middle <= EVALUATIONS else "never"
    return f"{told} ({never} of {len(places)} never)" if never and told != "never" else told
