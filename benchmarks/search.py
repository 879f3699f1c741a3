"""What every searcher finds on the embedded family, and what asking it costs.

python benchmarks/search.py [--parts zoo overhead] [--rows NAME …] [--seeds 5] [--quick] [--write]

Every part is a file benchmarks/search_PART.py with a function run(arguments) that returns a section
of Markdown. Runs are kept in a folder, one measured number after the other in a JSON file beside
them, so a benchmark that was stopped goes on where it was, within a run. With --write the sections
go into docs/search.md, between the markers of their part.
"""

import argparse
import importlib
import os
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from evaluation import write_into
from machine import describe

PAGE = Path(__file__).parents[1] / "docs" / "search.md"
PARTS = ("zoo", "overhead")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    add("--seeds", type=int, default=5, help="of every row")
    add("--rows", nargs="*", default=[], metavar="NAME", help="zoo: only these")
    add("--workers", type=int, default=os.cpu_count() or 1, help="zoo: runs at once")
    add("--results", type=Path, default=Path("build") / "bench-search", help="a folder")
    add("--quick", action="store_true", help="to try it: few evaluations, into FOLDER-quick")
    add("--write", action="store_true", help=f"put the sections into docs/{PAGE.name}")
    chosen = parser.parse_args()
    name = chosen.results.name + "-quick" * chosen.quick
    chosen.results = chosen.results.with_name(name).resolve()
    return chosen


def main() -> None:
    """Measure the parts, show them."""
    chosen = read_arguments()
    for part in chosen.parts:
        section = str(importlib.import_module(f"search_{part}").run(chosen))
        section = f"{date.today().isoformat()}, {describe()}.\n\n{section}"
        print(f"\n{section}\n", flush=True)
        if chosen.write and not chosen.quick:
            write_into(PAGE, part, section, bench="bench-search")


if __name__ == "__main__":
    main()
