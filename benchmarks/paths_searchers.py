"""Which searcher finds the better paths: all of them on the embedded family, several seeds each.

The genome, its phases and the searchers are a run's own. Candidates are scored in this process by
one teacher-forced pass (an item counts if all its tokens and the end are the likeliest), and
every distinct path once: whom it shares a pass with does not change its score.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from evaluation import keep, read_record
from evaluation_runs import show_mean

import evomerge.zoo
from evomerge.config import parse_config
from evomerge.engine import Models
from evomerge.evolve.build import build_searcher
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.live import load_folder
from evomerge.evolve.phases import plan_phases, share_out
from evomerge.inference.layer_path import LayerPool
from evomerge.inference.prefix_tree import Population
from evomerge.recipe import Hop, Recipe, find_hops, make_path
from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.zoo.tasks import RULES, SPLITS, read_items

MODELS = ["base", *RULES]
EVALUATIONS, HALF, QUICK = 512, 256, 32
ITEMS = {"search": 40, "validation": 100, "test": 300}
"""Items of each task in each split."""
LISTED = 5
"""So many of a phase's best meet the validation items, and what the searcher recommends."""
DEPTH = 4


class Row(NamedTuple):
    """A row of the table: what it is called, and what its run file says."""

    label: str
    genome: dict[str, Any]
    search: dict[str, Any]


LAYERS: dict[str, Any] = {"repeats": 2, "scales": "none"}
SCALES = LAYERS | {"scales": "slots"}
LONG = LAYERS | {"longest": 10}
"""By default it is 6: the first model's own 4 layers, its last once more, and one other."""
ROWS = {
    "catcma": Row("catcma", LAYERS, {"algorithm": "catcma"}),
    "catcma_32": Row("catcma", LAYERS, {"algorithm": "catcma", "population": 32}),
    "catcma_64": Row("catcma", LAYERS, {"algorithm": "catcma", "population": 64}),
    "sep_cma": Row("sep_cma", LAYERS, {"algorithm": "sep_cma"}),
    "mixed_ga": Row("mixed_ga", LAYERS, {"algorithm": "mixed_ga"}),
    "random": Row("random", LAYERS, {"algorithm": "random"}),
    "staged": Row("catcma, layers, then scales", SCALES, {"algorithm": "catcma"}),
    "direct": Row(
        "catcma, layers and scales at once", SCALES | {"stages": False}, {"algorithm": "catcma"}
    ),
    "depth_wise": Row(
        "catcma, one choice a depth",
        {"space": "depth_wise", "scales": "none"},
        {"algorithm": "catcma"},
    ),
    "catcma_long": Row("catcma, to 10 layers", LONG, {"algorithm": "catcma"}),
    "catcma_32_long": Row("catcma, to 10 layers", LONG, {"algorithm": "catcma", "population": 32}),
    "catcma_64_long": Row("catcma, to 10 layers", LONG, {"algorithm": "catcma", "population": 64}),
    "sep_cma_long": Row("sep_cma, to 10 layers", LONG, {"algorithm": "sep_cma"}),
    "mixed_ga_long": Row("mixed_ga, to 10 layers", LONG, {"algorithm": "mixed_ga"}),
    "random_long": Row("random, to 10 layers", LONG, {"algorithm": "random"}),
}
REFERENCE = "catcma"

Hops = tuple[tuple[str | Recipe, int, float], ...]


class Judge:
    """Scores paths through the embedded models, and remembers them."""

    def __init__(self) -> None:
        folder = Path(evomerge.zoo.__file__).parent
        models = {
            f"zoo:{name}": load_folder(folder / "models" / name, "cpu", "float32")
            for name in MODELS
        }
        self._pool = LayerPool(models)
        tokenizer = next(iter(models.values())).tokenizer
        self._rows = {
            split: [
                (
                    tokenizer.encode(item.prompt),
                    [
                        *tokenizer.encode(item.target, add_special_tokens=False),
                        tokenizer.eos_token_id,
                    ],
                )
                for task in RULES
                for item in read_items(folder / "tasks" / f"{task}.jsonl", split)[: ITEMS[split]]
            ]
            for split in SPLITS
        }
        self._memory: dict[tuple[str, Hops], float] = {}

    def score(self, recipes: Sequence[Recipe], split: str) -> list[float]:
        """Return the mean over the tasks of each path's share of right answers."""
        paths = [tuple((h.model, h.layer, h.scale) for h in find_hops(r)) for r in recipes]
        fresh = [path for path in dict.fromkeys(paths) if (split, path) not in self._memory]
        if fresh:
            population = Population(self._pool, fresh)
            for number, path in enumerate(fresh):
                found = population.member(number).score_tokens(self._rows[split])
                self._memory[split, path] = fmean(score.greedy for score in found)
        return [self._memory[split, path] for path in paths]


class Climb:
    """A phase of a search: a searcher, and what it has met."""

    def __init__(self, searcher: Searcher, genome: Encoding, judge: Judge) -> None:
        self._searcher, self._genome, self._judge = searcher, genome, judge
        self._met: dict[Recipe, float] = {}

    def go(self, evaluations: int) -> None:
        """Go on until so many candidates were asked for; no generation is cut but the last."""
        while (left := evaluations - self._searcher.asked) > 0:
            points = self._searcher.ask(min(self._searcher.batch, left))
            recipes = [self._genome.decode(point) for point in points]
            scores = self._judge.score(recipes, "search")
            self._met |= zip(recipes, scores, strict=True)
            self._searcher.tell(
                [Evaluated(point, (score,)) for point, score in zip(points, scores, strict=True)]
            )

    def short_list(self) -> list[Recipe]:
        """Return the best paths that were met, and what the searcher recommends."""
        best = sorted(self._met, key=lambda recipe: -self._met[recipe])[:LISTED]
        return [*best, *map(self._genome.decode, self._searcher.recommend())]

    @property
    def met(self) -> int:
        """The number of different paths that were met."""
        return len(self._met)

    @property
    def size(self) -> int:
        """The number of candidates of a generation."""
        return self._searcher.batch


def search(row: Row, seed: int, judge: Judge, evaluations: int) -> dict[str, Any]:
    """Carry out a search as a run does; return what its winner scores on test items."""
    models = [f"zoo:{name}" for name in MODELS]
    genome = {"space": "data_flow", "models": models, **row.genome}
    document = {
        "seed": seed,
        "genome": genome,
        "tasks": [
            {"name": task, "evaluator": "exact_match", "data": f"zoo:{task}"} for task in RULES
        ],
        "search": {**row.search, "evaluations": evaluations},
    }
    config = parse_config(document, row.label, folder=Path())
    phases, found = plan_phases(config, Models()), dict[str, Any]()
    winners: list[Recipe] = []
    listed: list[Recipe] = []
    for number, budget in enumerate(share_out(evaluations, phases)):
        phase = phases[number]
        start = [] if phase.after is None else [winners[phase.after]]
        genes = phase.make(start[0] if start else None)
        climb = Climb(build_searcher(config, genes.space, number), genes, judge)
        found.setdefault("population", climb.size)
        if len(phases) == 1:
            climb.go(HALF // climb.size * climb.size if evaluations > HALF else evaluations // 2)
            found["half"] = judge.score([choose(climb.short_list(), judge)], "test")[0]
        climb.go(budget)
        found["met"] = found.get("met", 0) + climb.met
        listed = [*climb.short_list(), *start]
        winners.append(choose(listed, judge))
    best = choose([*listed, *winners], judge)
    return found | {
        "test": judge.score([best], "test")[0],
        "search": judge.score([best], "search")[0],
        "path": [[str(h.model), h.layer, h.scale] for h in find_hops(best)],
    }


def choose(recipes: Sequence[Recipe], judge: Judge) -> Recipe:
    """Return the best on validation items."""
    scores = judge.score(recipes, "validation")
    return recipes[scores.index(max(scores))]


def run(chosen: argparse.Namespace) -> str:
    """Search with every row and seed that is not kept yet; return the table."""
    judge = Judge()
    evaluations = QUICK if chosen.quick else EVALUATIONS
    for seed in range(1 if chosen.quick else chosen.seeds):
        for name in chosen.rows or ROWS:
            key = f"searchers, {name}, {seed}"
            if key not in read_record(chosen.results):
                found = search(ROWS[name], seed, judge, evaluations)
                keep(chosen.results, key, found)
                print(f"{key}: {found['test']:.3f}", flush=True)
    [home] = judge.score([_pass_through()], "test")
    return render(read_record(chosen.results), home)


def _pass_through() -> Recipe:
    """Return the first model as a path."""
    return make_path([Hop("zoo:base", layer) for layer in range(DEPTH)])


def render(record: dict[str, Any], home: float) -> str:
    """Write the table of rows that are complete; differences are paired by seed."""
    results = {
        name: {
            int(k.split(", ")[2]): v
            for k, v in record.items()
            if k.startswith(f"searchers, {name}, ")
        }
        for name in ROWS
    }
    seeds = max(map(len, results.values()))
    results = {name: found for name, found in results.items() if len(found) == seeds}
    lines = [
        f"The first model as it is: {100 * home:.1f} %. Seeds: {seeds}.",
        "",
        f"| searcher | population | after {HALF} | after {EVALUATIONS} | less catcma | "
        "seeds above, below | on search items | different paths |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(_render_row(name, found, results.get(REFERENCE, {})) for name, found in results.items()),
    ]
    return "\n".join(lines)


def _render_row(name: str, found: dict[int, Any], reference: dict[int, Any]) -> str:
    gaps = [100 * (v["test"] - reference[s]["test"]) for s, v in found.items() if s in reference]
    apart = name != REFERENCE and gaps
    cells = [
        ROWS[name].label,
        str(next(iter(found.values()))["population"]),
        _show([v["half"] for v in found.values() if "half" in v]),
        _show([v["test"] for v in found.values()]),
        show_mean(gaps, "{:.1f}") if apart else "",
        f"{sum(g > 0 for g in gaps)}, {sum(g < 0 for g in gaps)}" if apart else "",
        _show([v["search"] for v in found.values()]),
        f"{fmean([v['met'] for v in found.values()]):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _show(values: Sequence[float]) -> str:
    """Write mean ± standard deviation, in percent."""
    if not values:
        return ""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"
