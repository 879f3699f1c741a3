"""Where a candidate's seconds go: merge, forward passes, the rest of evaluation, bookkeeping.

python benchmarks/candidate.py [--smollm2 FOLDER] [--candidates N]

Runs the real search loop (random genomes, one local worker, one thread, a real store) on the zoo
and, where examples/smollm2/prepare.py has been run, on SmolLM2-135M with 60 items per task.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from evomerge.config import RunConfig, load_config
from evomerge.engine import Models
from evomerge.evolve.build import build_executor, build_genome, build_searcher, build_tasks
from evomerge.evolve.candidate import Worker
from evomerge.evolve.loop import search
from evomerge.evolve.trials import Trials
from evomerge.executors import Executor
from evomerge.store import open_store

HELP_RUNS = 5


class TimedWorker(Worker):
    """A worker that adds up the time inside the model's forward."""

    forward = 0.0

    def _build(self, plan: Any, tokenizer: Path) -> Any:
        model, resident = super()._build(plan, tokenizer)
        plain = model.module.forward

        def timed(*args: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            try:
                return plain(*args, **keywords)
            finally:
                TimedWorker.forward += time.perf_counter() - start

        model.module.forward = timed
        return model, resident


def measure(config: RunConfig, candidates: int) -> dict[str, float]:
    """Run the search; return mean wall seconds per candidate by stage."""
    with build_executor(config) as executor:
        executor.target = f"{__name__}:TimedWorker"
        run_search(config, executor, 1)  # builds the model and reads the items
        TimedWorker.forward = 0.0
        wall, merge, evaluate = run_search(config, executor, candidates)
    forward = TimedWorker.forward
    stages = {
        "merge": merge,
        "forward": forward,
        "rest of evaluation": evaluate - forward,
        "bookkeeping": wall - merge - evaluate,
        "candidate": wall,
    }
    return {stage: seconds / candidates for stage, seconds in stages.items()}


def run_search(config: RunConfig, executor: Executor, candidates: int) -> tuple[float, ...]:
    """Search into a store of its own; return wall, merge and evaluation seconds in all."""
    models = Models()
    tasks, genome = build_tasks(config), build_genome(config, models)
    names = [name for name in [config.genome.base_model, *config.genome.models] if name]
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder), write=True) as store:
        trials = Trials(store, tasks, executor, models.fingerprints(names), config.seed)
        searcher = build_searcher(config, genome.space)
        start = time.perf_counter()
        search(searcher, genome, trials, evaluations=candidates)
        wall = time.perf_counter() - start
        seconds = [row.seconds for row in store.candidates("search")]
    return wall, sum(s["merge"] for s in seconds), sum(s["evaluate"] for s in seconds)


def adapt(config: RunConfig, items: int) -> RunConfig:
    """Return the run with one local worker, one thread, and so many search items per task."""
    document = config.model_dump()
    document["executor"] = {"name": "local", "threads": 1}
    document["items"]["search"] = items
    return RunConfig.model_validate(document)


def report(title: str, stages: dict[str, float]) -> None:
    """Print one table."""
    print(f"\n{title}")
    for stage, seconds in stages.items():
        print(f"  {stage:<20}{1000 * seconds:>12.1f} ms {seconds / stages['candidate']:>8.1%}")
    share = 1 - stages["forward"] / stages["candidate"]
    print(f"  {'all but forward':<20}{'':>15} {share:>8.1%}")


def time_help() -> float:
    """Return the seconds of `evomerge --help`, best of five."""
    command = [sys.executable, "-m", "evomerge", "--help"]
    times = []
    for _ in range(HELP_RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smollm2", type=Path, default=Path("smollm2"), help="prepared folder")
    parser.add_argument("--candidates", type=int, default=14)
    chosen = parser.parse_args()
    print(f"evomerge --help: {1000 * time_help():.0f} ms (best of {HELP_RUNS})")
    zoo = adapt(load_config("demo"), 100)
    report("zoo: 4 tasks × 100 items, exact match by generation", measure(zoo, chosen.candidates))
    if not (chosen.smollm2 / "evolve.yml").exists():
        print(
            f"\nno {chosen.smollm2}/evolve.yml; make it: python examples/smollm2/prepare.py smollm2"
        )
        return
    smollm2 = adapt(load_config(chosen.smollm2 / "evolve.yml"), 60)
    report("SmolLM2-135M: 3 tasks × 60 items", measure(smollm2, max(2, chosen.candidates // 5)))


if __name__ == "__main__":
    main()
