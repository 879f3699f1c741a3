"""What a searcher itself costs: seconds of the processor in ask and tell, per candidate.

The results it is told are made up: those of four tasks of 100 items, as on the embedded family.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from evaluation import keep, read_record

from evomerge.records import Evaluated
from evomerge.search import SEARCHERS, Searcher
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

GENES, EVALUATIONS, QUICK = (36, 128, 300, 1024), 200, 40
TASKS, ITEMS = 4, 100
LIMIT_MS, LARGE = 10.0, {"cma": 128}
"""What is promised: so many milliseconds, for some up to so many genes only."""
LEFT_OUT = {"grid"}
"""So many genes have no grid."""
OPTIONS: dict[str, dict[str, Any]] = {"llm": {"backend": "mock"}}


def run(chosen: argparse.Namespace) -> str:
    """Measure what is not kept yet; return the table."""
    chosen.results.mkdir(parents=True, exist_ok=True)
    file = chosen.results / "overhead.json"
    names = [name for name in SEARCHERS.names() if name not in LEFT_OUT]
    for name in names:
        for genes in GENES:
            key = f"{name}, {genes}"
            if key not in read_record(file):
                make = partial(SEARCHERS.get(name), **OPTIONS.get(name, {}))
                spent = try_out(make, genes, QUICK if chosen.quick else EVALUATIONS)
                keep(file, key, spent)
                print(f"{key} genes: {spent and f'{1e3 * spent:.2f} ms'}", flush=True)
    record = read_record(file)
    lines = [
        "| searcher | " + " | ".join(f"{genes} genes" for genes in GENES) + " |",
        "|---|" + "--:|" * len(GENES),
        *(f"| {name} | {_show(record, name)} |" for name in names),
    ]
    return "\n".join(lines)


def _show(record: dict[str, float | None], name: str) -> str:
    """Write milliseconds; those above what is promised in bold."""
    cells = []
    for genes in GENES:
        spent = record[f"{name}, {genes}"]
        above = spent and 1e3 * spent > LIMIT_MS and genes <= LARGE.get(name, GENES[-1])
        told = "refused" if spent is None else f"{1e3 * spent:.2f}"
        cells.append(f"**{told}**" if above else told)
    return " | ".join(cells)


def try_out(make: Callable[..., Searcher], genes: int, evaluations: int) -> float | None:
    """Return what `measure` does; None where a searcher does not take so many genes."""
    try:
        make(SearchSpace([Gene(f"{k}") for k in range(genes)])).ask()  # imports count for nobody
    except ValueError:
        return None
    return measure(make, genes, evaluations)


def measure(make: Callable[..., Searcher], genes: int, evaluations: int) -> float:
    """Return the processor's seconds per candidate that are spent in a searcher."""
    space = SearchSpace([Gene(f"{k}") for k in range(genes)])
    spent, rng = 0.0, np.random.default_rng(0)
    start = time.process_time()
    searcher = make(space, seed=0)
    spent += time.process_time() - start
    while (left := evaluations - searcher.asked) > 0 and not searcher.finished:
        start = time.process_time()
        points = searcher.ask(min(searcher.batch, left))
        spent += time.process_time() - start
        told = tell(points, min(TASKS, searcher.goals[1]), rng)
        start = time.process_time()
        searcher.tell(told)
        spent += time.process_time() - start
    return spent / searcher.asked


def tell(points: "Sequence[Genome]", goals: int, rng: np.random.Generator) -> list[Evaluated]:
    """Make up what candidates earn: the nearer to a target, the likelier is every item."""
    told = []
    for point in points:
        chances = [1.0 - float(((point - 0.2 - 0.2 * k) ** 2).mean()) for k in range(TASKS)]
        scores = rng.random((TASKS, ITEMS)) < np.array(chances)[:, None]
        means = scores.mean(axis=1)
        items = {f"{k} {j}": float(scores[k, j]) for k in range(TASKS) for j in range(ITEMS)}
        measures = {f"task {k}": float(mean) for k, mean in enumerate(means)}
        overall = float(means.mean())
        several = tuple(map(float, means[:goals])) if goals > 1 else (overall,)
        told.append(
            Evaluated(point, several, items, len(items), overall=overall, measures=measures)
        )
    return told
