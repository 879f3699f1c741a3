"""The paper's table in miniature: two alphabets as languages, and every way of merging.

python benchmarks/paper.py [--seeds 5] [--searches 3] [--rows NAME …] [--quick] [--write]

Trains families (evomerge.zoo.alphabets) until so many bases were accepted, measures what takes no
search once per family, and runs every search of a family's run files with every search seed. What
is finished is a JSON file at once, so a stopped benchmark goes on where it was, searches included.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import yaml
from machine import describe
from paper_figure import draw_paths
from paper_table import FIXED, PAGE, RESET, ROWS, SEARCHED, read_results, render, write_into
from transformers.utils.logging import disable_progress_bar

from evomerge.config import RunConfig, parse_config
from evomerge.evolve import RunResult, evolve, resume
from evomerge.evolve.measurement.side_by_side import measure
from evomerge.store import FILE, open_store
from evomerge.zoo.alphabets.runs import RUNS, TASKS, write_runs
from evomerge.zoo.alphabets.train import FACTS, train_family

MOST_SEEDS = 10
"""Seeds tried for every family wanted, at most."""
QUICK = {"search": {"evaluations": 24}, "items": {"search": 20, "validation": 20, "test": 50}}
QUICK_LIMIT = 50

Result = dict[str, Any]


class Bench:
    """One family, and where its results go."""

    def __init__(self, chosen: argparse.Namespace, family: Path) -> None:
        self.chosen, self.family = chosen, family
        self._folder = chosen.results / family.name

    def measure_fixed(self, row: str) -> None:
        """Measure a model, or a recipe, that takes no search."""
        kept = self._folder / f"{row}.json"
        if not kept.exists():
            self._keep(kept, self._measure(FIXED[row]))

    def measure_search(self, row: str, seed: int) -> None:
        """Carry out a search (or go on with it), and measure the winner as it was written."""
        kept = self._folder / f"{row}-{seed}.json"
        if kept.exists():
            return
        run = self._search(row, seed)
        recipe, score = _read_winner(run.folder)
        found = self._measure(str(run.best))
        facts = {"recipe": recipe, "search": score, "cpu_seconds": run.cpu_seconds}
        self._keep(kept, found | facts)
        shutil.rmtree(run.best or run.folder / "best", ignore_errors=True)

    def measure_reset(self, row: str, seed: int) -> None:
        """Measure the path that a search found with all of its scales set to 1."""
        kept, found = (self._folder / f"{name}-{seed}.json" for name in (RESET[row], row))
        if kept.exists() or not found.exists():
            return
        recipe = json.loads(found.read_text())["recipe"]
        for part in recipe["slices"]:
            part.pop("input_scale", None)
        file = self._folder / f"{RESET[row]}-{seed}.yml"
        file.write_text(yaml.safe_dump(recipe, sort_keys=False))
        self._keep(kept, self._measure(str(file)))

    def _search(self, row: str, seed: int) -> RunResult:
        runs = self._folder / "runs"
        config = self._configure(row, seed)
        if (runs / config.name / FILE).exists():
            return resume(config.name, runs=runs)
        return evolve(config, runs=runs)

    def _configure(self, row: str, seed: int) -> RunConfig:
        workers = self.chosen.workers
        document = {
            **RUNS[row],
            "name": f"{row}-{seed}",
            "seed": seed,
            "executor": {
                "name": "processes" if workers > 1 else "local",
                "workers": workers,
                "threads": 1,
                "device": "cpu",
            },
        }
        if self.chosen.quick:
            search = {**document["search"], **QUICK["search"]}
            document |= {"search": search, "items": QUICK["items"]}
        return parse_config(document, row, folder=self.family)

    def _measure(self, reference: str) -> Result:
        limit = QUICK_LIMIT if self.chosen.quick else None
        [model] = measure([reference], [TASKS], limit=limit, device="cpu").models
        scores = {task: mean(found.values()) for task, found in model.scores.items()}
        shares = {name: tally.audit.get("wrong_language") for name, tally in model.tallies.items()}
        return {
            "scores": scores,
            "wrong_language": {task: s for task, s in shares.items() if s is not None},
        }

    def _keep(self, file: Path, result: Result) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(result, indent=1) + "\n")
        os.replace(partial, file)
        told = ", ".join(f"{task} {score:.3f}" for task, score in result["scores"].items())
        print(f"{self.family.name} {file.stem}: {told}", flush=True)


def _read_winner(run: Path) -> tuple[Any, float]:
    """Return the recipe of a run's winner, and its score on the search items (or validation's)."""
    with open_store(run) as store:
        row, known = store.candidates("test", 0)[0], store.run()
    assert known is not None
    assert known.verdict is not None
    return dict(row.recipe), known.verdict["search_score"] or known.verdict["validation_score"]


def find_families(chosen: argparse.Namespace) -> Iterator[Path]:
    """Yield families whose base was accepted, trained here where they are not there yet.

    Bases that were refused leave their facts, and no model.
    """
    wanted = 1 if chosen.quick else chosen.seeds
    for seed in range(MOST_SEEDS * wanted):
        family = chosen.families / f"family-{seed}"
        if not (family / FACTS).exists():
            print(f"training {family.name}", flush=True)
            train_family(family, seed, lambda line: print(line, end=""), distractors=True)
        if json.loads((family / FACTS).read_text())["accepted"]:
            write_runs(family)
            yield family
            wanted -= 1
        if not wanted:
            return
    raise SystemExit(f"only {chosen.seeds - wanted} of {chosen.seeds} bases were accepted")


def measure_all(chosen: argparse.Namespace, families: list[Path]) -> None:
    """Measure every row of every family: first all of them with one search seed, then the next."""
    for seed in range(1 if chosen.quick else chosen.searches):
        for family in families:
            bench = Bench(chosen, family)
            with chdir(family):
                for row in chosen.rows:
                    if row in FIXED:
                        bench.measure_fixed(row)
                    elif row in SEARCHED:
                        bench.measure_search(row, seed)
                    if row in RESET:
                        bench.measure_reset(row, seed)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    known = [*FIXED, *SEARCHED]
    add("--seeds", type=int, default=5, help="families")
    add("--searches", type=int, default=3, help="seeds of every search")
    add("--rows", nargs="*", default=[], choices=known, metavar="NAME", help=", ".join(known))
    add("--workers", type=int, default=1, help="processes that try candidates")
    add("--families", type=Path, default=Path("build") / "alphabets", help="kept there")
    add("--results", type=Path, help="default: build/paper, of --quick build/paper-quick")
    add("--quick", action="store_true", help="few candidates and items, to try it; writes no page")
    add("--write", action="store_true", help=f"put tables and picture into docs/{PAGE.name}")
    chosen = parser.parse_args()
    chosen.rows = chosen.rows or known
    default = Path("build") / ("paper-quick" if chosen.quick else "paper")
    chosen.results = (chosen.results or default).absolute()
    chosen.families = chosen.families.absolute()
    return chosen


def main() -> None:
    """Train, measure, show."""
    chosen = read_arguments()
    torch.set_num_threads(1)
    disable_progress_bar()
    families = list(find_families(chosen))
    measure_all(chosen, families)
    facts = [json.loads((family / FACTS).read_text()) for family in families]
    results = read_results(chosen.results, families, list(ROWS))
    setting = f"{date.today().isoformat()}, {describe()}, torch {torch.__version__}."
    page = render(results, facts, setting)
    print(f"\n{page}")
    if chosen.write and not chosen.quick:
        write_into(PAGE, page)
        draw_paths(chosen.results, families)


if __name__ == "__main__":
    main()
