"""What a search for paths costs, and what its searchers find.

python benchmarks/paths.py [--parts throughput searchers] [--seeds 5] [--quick] [--write]

Every part is a file benchmarks/paths_PART.py with a function run(arguments) that returns a section
of Markdown. Every measurement is kept in a JSON file at once, so a stopped benchmark goes on where
it was. With --write the sections go into docs/paths.md, between the markers of their part.
"""

import argparse
import importlib
import os
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from evaluation import write_into
from machine import describe
from transformers.utils.logging import disable_progress_bar

PAGE = Path(__file__).parents[1] / "docs" / "paths.md"
PARTS = ("searchers", "throughput")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    add("--seeds", type=int, default=5, help="of every searcher")
    add("--rows", nargs="*", default=[], metavar="NAME", help="searchers: only these")
    add("--widths", nargs="*", type=int, default=[96, 192], help="throughput: of the models")
    add("--results", type=Path, help="default: build/bench-dfs.json, of --quick …-quick.json")
    add("--quick", action="store_true", help="few candidates, to try it; writes no page")
    add("--write", action="store_true", help=f"put the sections into docs/{PAGE.name}")
    chosen = parser.parse_args()
    name = "bench-dfs-quick.json" if chosen.quick else "bench-dfs.json"
    chosen.results = chosen.results or Path("build") / name
    return chosen


def main() -> None:
    """Measure the parts, show them."""
    chosen = read_arguments()
    torch.set_num_threads(1)
    disable_progress_bar()
    for part in chosen.parts:
        section = str(importlib.import_module(f"paths_{part}").run(chosen))
        section = (
            f"{date.today().isoformat()}, {describe()}, torch {torch.__version__}.\n\n{section}"
        )
        print(f"\n{section}\n", flush=True)
        if chosen.write and not chosen.quick:
            write_into(PAGE, part, section, bench="bench-dfs")


if __name__ == "__main__":
    main()
