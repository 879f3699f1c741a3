"""Racing against full evaluation: errors and savings in simulation, replayed, and in whole runs.

python benchmarks/evaluation_racing.py [--seeds 5] [--smollm2 FOLDER] [--quick]

A part of benchmarks/evaluation.py, which calls run(arguments) and puts the section of Markdown that
it returns into docs/evaluation.md.
"""

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from evaluation_runs import change, print_section, run_once, show_mean
from evaluation_specialists import configure
from numpy.typing import NDArray

from evomerge.config import RunConfig, load_config
from evomerge.evolve.racing import draw_items, end_legs, mix
from evomerge.evolve.tasks import build_tasks
from evomerge.statistics.racing import count_looks, find_drop
from evomerge.store import RACED_OUT, open_store

FIRST, EVERY, ALPHA, COHORT = 30, 10, 0.1, 14
RULES: dict[str, Any] = {
    "every item": False,
    "over all looks": True,
    "per look": {"per_look": True},
}
COLUMNS = "rule | % of items to the deciding look | % of items met | points lost by the winner"
Matrix = NDArray[np.float64]
"""Objectives, shape (candidates, items), in the order of asking and of meeting."""


class Race(NamedTuple):
    """What a race through a matrix came to."""

    judged: float
    met: float
    loss: float


def race_through(scores: Matrix, truth: Matrix, per_look: bool | None) -> Race:
    """Race candidates in cohorts against the best of all cohorts before.

    Args:
        scores: what they earn, shape (candidates, items).
        truth: what they are worth, shape (candidates,).
        per_look: how alpha is spent; None where every candidate meets every item.

    Returns:
        The shares of items up to the looks that decided, and up to the ends of the legs in which
        these lie; and how much worse the winner is than the best there was.
    """
    looks = count_looks(scores.shape[1], FIRST, EVERY)
    ends = end_legs(looks)
    looks = [look for look in looks if look <= ends[-1]]
    full, best, judged, met = scores.mean(axis=1), None, 0, 0
    for start in range(0, len(scores), COHORT):
        rival = best
        for c in range(start, min(start + COHORT, len(scores))):
            drop = None
            if rival is not None and per_look is not None:
                drop = find_drop(scores[c] - scores[rival], looks, ALPHA, per_look=per_look)
            judged += drop or scores.shape[1]
            met += next(end for end in ends if end >= drop) if drop else scores.shape[1]
            if drop is None and (best is None or full[c] > full[best]):
                best = c
    return Race(judged / scores.size, met / scores.size, float(truth.max() - truth[best]))


def report_errors(draws: int, items: int = 400) -> str:
    """How often is a candidate that is as good as its rival dropped?"""
    rng = np.random.default_rng(0)
    looks = count_looks(items, FIRST, EVERY)
    signs = rng.choice([-1.0, 0.0, 0.0, 1.0], size=(draws, items))
    lines = ["| alpha 0.1 is spent | equals dropped |", "|---|---|"]
    for name, per_look in (("over all looks", False), ("at each look", True)):
        dropped = np.mean(
            [find_drop(s, looks, ALPHA, per_look=per_look) is not None for s in signs]
        )
        error = 1.96 * (dropped * (1 - dropped) / draws) ** 0.5
        lines.append(f"| {name} | {dropped:.3f} ± {error:.3f} |")
    head = f"{draws} draws of {items} items, half of them ties, {len(looks)} looks:"
    return "\n".join([head, "", *lines])


def simulate(spread: float, seed: int, items: int = 400, candidates: int = 200) -> list[Matrix]:
    """Draw right and wrong answers from a two-parameter logistic model of items."""
    rng = np.random.default_rng(seed)
    slope, difficulty = np.exp(rng.normal(0, 0.3, items)), rng.normal(0, 1, items)
    ability = rng.normal(0, spread, candidates)
    chance = 1 / (1 + np.exp(-slope * (ability[:, None] - difficulty)))
    return [(rng.random(chance.shape) < chance).astype(float), chance.mean(axis=1)]


def report_simulation(seeds: int) -> str:
    """Share of items and loss, where candidates differ little, clearly, and much."""
    lines = [f"| spread of ability | {COLUMNS} |", "|---" * 5 + "|"]
    for spread in (0.15, 0.4, 1.0):
        drawn = [simulate(spread, seed) for seed in range(seeds)]
        lines += _rule_lines(
            f"{spread:g}", [lambda rule, d=d: race_through(*d, rule) for d in drawn]
        )
    head = f"200 simulated candidates, 400 items, {seeds} seeds; loss in points of true accuracy:"
    return "\n".join([head, "", *lines])


def report_replay(name: str, scores: Matrix, seeds: int) -> str:
    """Race through scores that were all measured once, the items in other orders."""
    races = []
    for seed in range(seeds):
        mixed = scores[:, np.random.default_rng(seed).permutation(scores.shape[1])]
        races.append(lambda rule, m=mixed: race_through(m, m.mean(axis=1), rule))
    lines = [f"| {name} | {COLUMNS} |", "|---" * 5 + "|"]
    lines += _rule_lines(f"{len(scores)} × {scores.shape[1]}", races)
    head = (
        f"Replayed on the stored scores of one search, {seeds} orders of items (± is over orders; "
        "points are of the search score):"
    )
    return "\n".join([head, "", *lines])


def _rule_lines(label: str, races: Sequence[Callable[[bool | None], Race]]) -> Iterable[str]:
    for rule, per_look in zip(RULES, (None, False, True), strict=True):
        found = [race(per_look) for race in races]
        cells = " | ".join(show_mean(100 * np.array(column)) for column in zip(*found, strict=True))
        yield f"| {label} | {rule} | {cells} |"


def report_runs(config: RunConfig, title: str, seeds: int, runs: Path) -> str:
    """Whole runs, search and verdict: what they cost and how good their winners are."""
    columns = "candidates dropped | items used | CPU s of the run | validation | test"
    lines = [f"| {title} | {columns} |", "|---" * 6 + "|"]
    found: dict[str, list[tuple[float, ...]]] = {rule: [] for rule in RULES}
    for seed, (rule, racing) in itertools.product(range(seeds), RULES.items()):
        name = f"{config.name}-{rule.replace(' ', '-')}-{seed}"
        changes = {"name": name, "seed": seed, "racing": racing}
        found[rule].append(measure_run(change(config, changes), runs))
    for rule, rows in found.items():
        cells = " | ".join(show_mean(column) for column in zip(*rows, strict=True))
        lines.append(f"| {rule} | {cells} |")
    lines += ["", f"{seeds} seeds; mean ± half of the 95 % interval over seeds."]
    lines[-1] += " Rule minus every item, paired by seed:"
    lines += ["", f"| {title} | {columns} |", "|---" * 6 + "|"]
    for rule in list(RULES)[1:]:
        differences = np.array(found[rule]) - np.array(found["every item"])
        lines.append(f"| {rule} | {' | '.join(map(show_mean, differences.T))} |")
    return "\n".join(lines)


def measure_run(config: RunConfig, runs: Path) -> tuple[float, ...]:
    """Run (or go on, or read what was run): dropped, items, seconds, validation, test; percents."""
    with open_store(run_once(config, runs)) as store:
        rows, run = store.candidates("search"), store.run()
        most = store.candidates("probe")[0].items  # no candidate need have met all of them
    assert run is not None
    assert run.verdict is not None
    return (
        100 * np.mean([row.state == RACED_OUT for row in rows]),
        100 * sum(row.items for row in rows if row.seconds) / (most * len(rows)),
        run.cpu_seconds,
        100 * run.verdict["validation_score"],
        100 * run.verdict["lines"][0]["overall"]["mean"],
    )


def read_matrix(folder: Path) -> Matrix:
    """Return the search scores of a run without racing, in the order in which items are met."""
    with open_store(folder) as store:
        run = store.run()
        assert run is not None
        tasks = build_tasks(RunConfig.model_validate(run.config))
        row = mix(draw_items(tasks, "search"), {task.name: task.weight for task in tasks})
        by_name = {task.name: task for task in tasks}
        keys = [(by_name[name], by_name[name].items["search"][place].key) for name, place in row]
        found = {r.fingerprint: r for r in store.candidates("search") if r.state == "done"}
        known = {(merge, t.key): store.scores(merge, t.key) for merge in found for t in tasks}
    return np.array(
        [[task.direction * known[merge, task.key][key] for task, key in keys] for merge in found]
    )


def run(arguments: argparse.Namespace) -> str:
    """Measure everything; return Markdown."""
    quick = getattr(arguments, "quick", False)
    seeds = 2 if quick else arguments.seeds
    kept = getattr(arguments, "results", None)
    executor = {"name": "processes", "workers": 1, "threads": 1}
    zoo = {
        "name": "zoo",
        "search": {"algorithm": "cma", "evaluations": 28 if quick else 70, "mean": 0.3},
        "items": {"search": 100, "validation": 200, "test": 200},
        "executor": executor,
    }
    with tempfile.TemporaryDirectory() as scratch:
        runs = kept.parent / f"racing{'-quick' * quick}" if kept else Path(scratch)
        demo = change(load_config("demo"), zoo)
        cases = {
            "errors": lambda: report_errors(1000 if quick else 10_000),
            "simulation": lambda: report_simulation(4 * seeds),
            "zoo": lambda: report_runs(demo, "zoo", seeds, runs),
            "zoo, replayed": lambda: replay_run(
                change(demo, {"name": "zoo-every-item-0", "racing": False}), "zoo", seeds, runs
            ),
        }
        if arguments.smollm2 and not quick:
            changes = {"name": "smollm2", "racing": False, "executor": executor}
            real = change(load_config(arguments.smollm2 / "evolve.yml"), changes)
            few = configure(arguments.smollm2, runs)
            cases |= {
                "specialists": lambda: report_runs(few, "SmolLM2, specialists", seeds, runs),
                "SmolLM2, replayed": lambda: replay_run(real, "SmolLM2", seeds, runs),
            }
        wanted = getattr(arguments, "cases", "")
        return "\n\n".join(make() for name, make in cases.items() if wanted in name) + "\n"


def replay_run(config: RunConfig, title: str, seeds: int, runs: Path) -> str:
    """Replay one run without racing."""
    return report_replay(title, read_matrix(run_once(config, runs)), 4 * seeds)


if __name__ == "__main__":
    print_section(run, __doc__.splitlines()[0])
