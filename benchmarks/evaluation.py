"""What evaluation costs and what its numbers are worth: scorers, racing, estimators.

python benchmarks/evaluation.py [--parts scorer racing estimators] [--smollm2 FOLDER] [--quick]

Every part is a file benchmarks/evaluation_PART.py with a function run(arguments) that returns a
section of Markdown. Sections are kept in a JSON file and, with --write, put into
docs/evaluation.md, between the markers of their part.
"""

import argparse
import importlib
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PAGE = Path(__file__).parents[1] / "docs" / "evaluation.md"
PARTS = ("scorer", "racing", "estimators")


def read_record(file: Path) -> dict[str, Any]:
    """Return what was measured so far, by part."""
    return dict(json.loads(file.read_text())) if file.exists() else {}


def keep(file: Path, part: str, content: Any) -> None:
    """Bring a part's content to the disk, beside the others', whole or not at all."""
    record = read_record(file) | {part: content}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(partial, file)


def write_into(page: Path, part: str, section: str, bench: str = "bench-eval") -> None:
    """Replace what stands between a part's markers."""
    begin, end = (f"<!-- {bench} {part}: {word} -->" for word in ("begin", "end"))
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{section.strip()}\n{end}{after}", encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    add("--repeats", type=int, default=3, help="runs of each scorer, in turn")
    add("--cases", default="", help="scorer, racing: only cases with this in their name")
    add("--seeds", type=int, default=5, help="of whole runs, for racing and estimators")
    add("--smollm2", type=Path, help="a folder of examples/smollm2/prepare.py")
    add("--results", type=Path, default=Path("build") / "bench-eval.json")
    add("--quick", action="store_true", help="few items and runs, to try it; writes no page")
    add("--write", action="store_true", help=f"put the sections into docs/{PAGE.name}")
    chosen = parser.parse_args()
    if chosen.smollm2 is not None and not (chosen.smollm2 / "base").is_dir():
        print(f"no {chosen.smollm2}/base: SmolLM2 is left out (examples/smollm2/prepare.py)")
        chosen.smollm2 = None
    return chosen


def main() -> None:
    """Measure the parts, keep and show them."""
    chosen = read_arguments()
    for part in chosen.parts:
        section = str(importlib.import_module(f"evaluation_{part}").run(chosen))
        keep(
            chosen.results, f"{part}, section", {"date": date.today().isoformat(), "text": section}
        )
        print(f"\n{section}\n", flush=True)
        if chosen.write and not chosen.quick and not (chosen.cases and part == "racing"):
            write_into(PAGE, part, section)


if __name__ == "__main__":
    main()
