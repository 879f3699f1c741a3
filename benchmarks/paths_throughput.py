"""Candidates per second: a population as a tree, each path by itself, each written to the disk.

Two random Llamas of 12 layers. Populations are what the product draws: the first generation of a
search for layers (all scales 1), and later ones, where the searcher was told how many slots a
path has right of one that is hidden. All three ways have to give the same numbers.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from evaluation import keep, read_record
from evaluation_scorer import make_llama

from evomerge.engine import merge
from evomerge.evolve.live import load_folder
from evomerge.genome import DataFlowSpace
from evomerge.inference.layer_path import LayerPath, LayerPool
from evomerge.inference.prefix_tree import Population
from evomerge.recipe import Recipe, find_hops
from evomerge.records import Evaluated
from evomerge.search.catcma import CatCMA

LAYERS, VOCABULARY, SIZE = 12, 1024, 64
QUESTIONS, FEW, ASKED, ANSWERED = 100, 20, 24, 8
SAMPLE, QUICK_SAMPLE = 4, 2
"""Candidates of a population that are scored by themselves, and from the disk."""
NOISE = 1e-2
CLOSE = 1e-4
"""How far log-likelihoods of a reloaded model may be, relatively: it pads and divides alike."""


class Case(NamedTuple):
    """Repeats of the pool's layers, which generation of the search it is, questions asked."""

    repeats: int
    generation: int
    questions: int = QUESTIONS


CASES = [Case(1, 1), Case(2, 1), Case(3, 1), Case(2, 10), Case(2, 30), Case(2, 1, FEW)]
Requests = list[tuple[list[int], list[int]]]


def draw(names: Sequence[str], case: Case) -> list[Recipe]:
    """Return the different paths of a generation of a search for layers; a run tries no other."""
    genome = DataFlowSpace(dict.fromkeys(names, LAYERS), repeats=case.repeats, scales="none")
    searcher = CatCMA(genome.space, seed=0, population=SIZE)
    hidden = searcher.ask(SIZE)[0]
    searcher = CatCMA(genome.space, seed=1, population=SIZE)
    points = searcher.ask(SIZE)
    for _ in range(case.generation - 1):
        searcher.tell([Evaluated(p, (float(np.isclose(p, hidden).sum()),)) for p in points])
        points = searcher.ask(SIZE)
    return [*dict.fromkeys(map(genome.decode, points))]


def make_requests(questions: int) -> Requests:
    """Make questions, each with an answer; all of one length."""
    source, words = random.Random(0), range(3, VOCABULARY)
    return [
        (source.choices(words, k=ASKED), source.choices(words, k=ANSWERED))
        for _ in range(questions)
    ]


@contextmanager
def resident(width: int) -> Iterator[LayerPool]:
    """Make two models, A and B, and open them."""
    with tempfile.TemporaryDirectory() as place:
        names = [str(Path(place) / name) for name in "AB"]
        for name in names:
            model, tokenizer = make_llama(width, LAYERS, VOCABULARY)
            torch.manual_seed(1)
            for parameter in model.parameters() if name == names[1] else ():
                parameter.data.add_(torch.randn_like(parameter), alpha=NOISE)
            model.save_pretrained(name)
            tokenizer.save_pretrained(name)
        yield LayerPool({name: load_folder(Path(name), "cpu", "float32") for name in names})


def measure(
    pool: LayerPool, recipes: Sequence[Recipe], requests: Requests, sample: int
) -> dict[str, float]:
    """Return seconds per candidate of each way, and layers asked for and computed."""
    paths = [[(h.model, h.layer, h.scale) for h in find_hops(recipe)] for recipe in recipes]
    forwards = [model.prove() for model in pool.models.values()]  # a worker does that once
    start = time.process_time()
    population = Population(pool, paths)
    together = [population.member(k).score_tokens(requests) for k in range(len(paths))]
    tree = (time.process_time() - start) / len(paths)
    # a few from the shortest to the longest stand for all
    order = sorted(range(len(paths)), key=lambda k: len(paths[k]))
    chosen = [order[(2 * k + 1) * len(order) // (2 * sample)] for k in range(sample)]
    seconds = list[dict[str, float]]()
    for number in chosen:
        start = time.process_time()
        alone = LayerPath(pool, paths[number]).score_tokens(requests)
        by_itself = time.process_time() - start
        written, spent = write_and_score(recipes[number], forwards, requests)
        seconds.append({"alone": by_itself, **spent})
        assert alone == together[number]
        for own, other in zip(alone, written, strict=True):
            assert abs(own.log_likelihood - other.log_likelihood) < -CLOSE * own.log_likelihood
    hops = fmean(map(len, paths))
    stretch = hops / fmean(len(paths[k]) for k in chosen)  # seconds are as the length
    return {
        "hops": hops,
        "paths": len(paths),
        "asked": population.asked,
        "computed": population.computed,
        "tree": tree,
    } | {name: stretch * fmean(spent[name] for spent in seconds) for name in seconds[0]}


def write_and_score(
    recipe: Recipe, forwards: Sequence[Any], requests: Requests
) -> tuple[list[Any], dict[str, float]]:
    """Score a path as a checkpoint of its own; return seconds of writing, loading and scoring."""
    with tempfile.TemporaryDirectory() as place:
        times = [time.process_time()]
        folder = merge(recipe, Path(place) / "candidate", model_card=False, threads=1)
        times.append(time.process_time())
        model = load_folder(folder, "cpu", "float32")
        model._forward.adopt(forwards)  # spare it the proofs, as a path is spared them
        model._proven = True
        times.append(time.process_time())
        found = model.score_tokens(requests)
        times.append(time.process_time())
    spent = (end - start for start, end in pairwise(times))
    return found, dict(zip(("write", "load", "score"), spent, strict=True))


def run(chosen: argparse.Namespace) -> str:
    """Measure what is not kept yet; return the tables."""
    sections = []
    for width in chosen.widths[:1] if chosen.quick else chosen.widths:
        cases = CASES[:1] if chosen.quick else CASES
        keys = [f"throughput, {width}, {', '.join(map(str, case))}" for case in cases]
        if any(key not in read_record(chosen.results) for key in keys):
            with resident(width) as pool:
                for key, case in zip(keys, cases, strict=True):
                    if key not in read_record(chosen.results):
                        recipes = draw([str(name) for name in pool.models], case)
                        sample = QUICK_SAMPLE if chosen.quick else SAMPLE
                        found = measure(pool, recipes, make_requests(case.questions), sample)
                        size = next(iter(pool.models.values())).module.num_parameters()
                        keep(chosen.results, key, found | {"parameters": size})
                        print(key, {k: float(f"{v:.3g}") for k, v in found.items()}, flush=True)
        record = read_record(chosen.results)
        sections.append(render(width, {c: record[k] for c, k in zip(cases, keys, strict=True)}))
    return "\n\n".join(sections)


def render(width: int, results: dict[Case, Any]) -> str:
    """Write the table of one width."""
    size = next(iter(results.values()))["parameters"]
    lines = [
        f"Models of {size / 1e6:.1f} M parameters, {width} wide:",
        "",
        "| r | generation | questions | paths of 64 | hops | layers asked / computed | "
        "candidates/s, tree | alone | disk | tree : alone | tree : disk | "
        "disk, s: write, load, score |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, found in results.items():
        disk = found["write"] + found["load"] + found["score"]
        cells = [
            *map(str, case),
            str(found["paths"]),
            f"{found['hops']:.1f}",
            f"{found['asked'] / found['computed']:.2f}",
            *(f"{1 / seconds:.2g}" for seconds in (found["tree"], found["alone"], disk)),
            f"{found['alone'] / found['tree']:.1f}",
            f"{disk / found['tree']:.1f}",
            ", ".join(f"{found[name]:.2f}" for name in ("write", "load", "score")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
