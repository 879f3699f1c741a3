"""Candidates per second on paths: the prefix tree, each path by itself, each written to disk.

python benchmarks/paths.py [--width N] [--vocabulary N] [--population N] [--written N]

The first stage of a data-flow search on two random Llamas A and B of 12 layers: indicators alone,
all scales 1. A's first repetition is chosen with probability .98, everything else with the one in
the table. One thread; all three ways give the same numbers, which is checked.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from evaluation_scorer import make_llama
from machine import describe

from evomerge.engine import merge
from evomerge.evolve.live import load_folder
from evomerge.inference.layer_path import LayerPath, LayerPool
from evomerge.inference.prefix_tree import Population
from evomerge.recipe.path import Hop, make_path

LAYERS = 12
LIKELY, OTHERS, REPEATS = 0.98, (0.02, 0.05, 0.1), (1, 2, 3)
Hops = list[tuple[str, int, float]]
Requests = list[tuple[list[int], list[int]]]


def draw_path(names: Sequence[str], others: float, repeats: int, source: random.Random) -> Hops:
    """Draw which slots are on a path between the first model's first and last layer."""
    slots = [(r, name, k) for r in range(repeats) for name in names for k in range(LAYERS)]
    ends = [(names[0], 0), (names[0], LAYERS - 1)]
    chosen = [
        (name, layer)
        for repeat, name, layer in slots
        if source.random() < (others if repeat or name != names[0] else LIKELY)
    ]
    chosen = [*ends[:1], *chosen] if chosen[:1] != ends[:1] else chosen
    chosen = [*chosen, *ends[1:]] if chosen[-1:] != ends[1:] else chosen
    return [(*slot, 1.0) for slot in chosen]


def make_requests(vocabulary: int, source: random.Random) -> Requests:
    """Make 100 questions of 24 tokens, each with an answer of 8."""
    words = range(3, vocabulary)
    return [(source.choices(words, k=24), source.choices(words, k=8)) for _ in range(100)]


def measure(
    pool: LayerPool, paths: Sequence[Hops], written: int, requests: Requests
) -> dict[str, float]:
    """Return candidates per second of each way, and layers asked for by layers computed."""
    start = time.perf_counter()
    population = Population(pool, paths)
    together = [population.member(k).score_tokens(requests) for k in range(len(paths))]
    middle = time.perf_counter()
    alone = [LayerPath(pool, hops).score_tokens(requests) for hops in paths]
    end = time.perf_counter()
    assert together == alone
    with tempfile.TemporaryDirectory() as place:
        for number, hops in enumerate(paths[:written]):
            found = write_and_score(hops, Path(place) / str(number), requests)
            assert all(
                abs(a.log_likelihood - b.log_likelihood) < 1e-3 * abs(b.log_likelihood)
                for a, b in zip(found, alone[number], strict=True)
            )
    reloaded = time.perf_counter() - end
    return {
        "hops": sum(map(len, paths)) / len(paths),
        "asked / computed": population.asked / population.computed,
        "tree": len(paths) / (middle - start),
        "alone": len(paths) / (end - middle),
        "disk": written / reloaded,
    }


def write_and_score(hops: Hops, folder: Path, requests: Requests) -> Any:
    """Score a path as a checkpoint of its own."""
    recipe = make_path([Hop(*hop) for hop in hops])
    return load_folder(merge(recipe, folder, model_card=False), "cpu").score_tokens(requests)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--population", type=int, default=64)
    parser.add_argument("--written", type=int, default=8, help="candidates written to disk")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    source = random.Random(0)
    requests = make_requests(chosen.vocabulary, source)
    with tempfile.TemporaryDirectory() as place:
        names = [str(Path(place) / name) for name in "AB"]
        for name in names:
            model, tokenizer = make_llama(chosen.width, LAYERS, chosen.vocabulary)
            for parameter in model.parameters() if name == names[1] else ():
                parameter.data.add_(torch.randn_like(parameter), alpha=1e-2)
            model.save_pretrained(name)
            tokenizer.save_pretrained(name)
        pool = LayerPool({name: load_folder(Path(name), "cpu") for name in names})
        print(f"{describe()}; {model.num_parameters() / 1e6:.1f} M parameters a model\n")
        print("| others | repeats | hops | asked / computed | tree, candidates/s | alone | disk |")
        print("|--:|--:|--:|--:|--:|--:|--:|")
        for others in OTHERS:
            for repeats in REPEATS:
                paths = [
                    draw_path(names, others, repeats, source) for _ in range(chosen.population)
                ]
                found = measure(pool, paths, chosen.written, requests)
                cells = " | ".join(f"{value:.3g}" for value in found.values())
                print(f"| {others} | {repeats} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
