"""evomerge against mergekit 0.1.5 and against the machine, merge method by merge method.

python benchmarks/merge.py --opponent VENV [--methods linear ties] [--size tiny] [--family FOLDER]

Builds a Llama family (a base and three models, bf16, sharded), merges it with both engines in turn,
each run a fresh process, and keeps every run in a JSON file, so that a stopped benchmark goes on
where it was. The table goes to the screen and, with --write, into docs/performance.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from signal import SIGKILL
from typing import Any

import yaml
from llama_family import SIZES, Size, make_family, make_sparse, read_all
from machine import describe, measure_limits, run
from merge_recipes import RECIPES, make_recipe
from merge_table import GOALS, OURS_ALONE, ours_to_limit, render, write_into

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
OUR_FLAGS = THEIR_FLAGS = ("--no-copy-tokenizer",)
FULL = "1.1b"
SPARE = 1 << 30
STARTS = {
    "ours": "import evomerge.cli.main, evomerge.cli.merge, evomerge.engine, evomerge.recipe",
    "theirs": "import mergekit.scripts.run_yaml",
}


PROFILED = f"""
{STARTS["ours"]}
import cProfile, sys
profile, file = cProfile.Profile(), sys.argv.pop(1)
try:
    profile.runcall(evomerge.cli.main.main)
finally:
    profile.dump_stats(file)
"""


class Record:
    """What was measured, kept in a JSON file that is rewritten whole after every run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.content: dict[str, Any] = {"methods": {}}
        if file.exists():
            self.content = json.loads(file.read_text())
        for kept in self.content["methods"].values():
            for engine in ("ours", "theirs"):  # what failed is tried again, what was too slow not
                kept[engine] = [run for run in kept[engine] if run["code"] in (0, -SIGKILL)]

    def method(self, name: str) -> dict[str, Any]:
        """Return what is known of a method; runs are added to its lists."""
        empty = {"ours": [], "theirs": [], "limits": []}
        kept: dict[str, Any] = self.content["methods"].setdefault(name, empty)
        return kept

    def forget(self, name: str, engines: Sequence[str]) -> None:
        """Leave out engines' starts and runs of a method; with ours go limits and stages."""
        kept = self.method(name)
        for engine in engines:
            kept[engine] = []
            self.content.get("start", {}).pop(engine, None)
        if "ours" in engines:
            kept["limits"] = []
            kept.pop("stages", None)

    def save(self) -> None:
        """Bring it to the disk, whole or not at all."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(partial, self._file)


class Bench:
    """The family, a place for results, and the two engines' commands."""

    def __init__(self, chosen: argparse.Namespace, family: Path, record: Record) -> None:
        self.chosen, self.family, self.record = chosen, family, record
        self.size = SIZES[chosen.size]
        self._out = family / "out"
        self._commands = {
            "ours": [sys.executable, "-m", "evomerge", "merge"],
            "theirs": [str(chosen.opponent.absolute() / "bin" / "mergekit-yaml")],
        }

    def measure(self, method: str) -> None:
        """Run a method with both engines as often as is still wanted."""
        kept = self.record.method(method)
        recipe = self.family / f"{method}.yml"
        document, inputs = make_recipe(method, self.family)
        recipe.write_text(yaml.safe_dump(document, sort_keys=False))
        kept["bytes"] = [inputs * self.size.bytes, self.size.bytes]
        if not kept["limits"] and self._wanted("ours", kept):
            self._limits(kept)
        while self._wanted("ours", kept):
            self._once("ours", method, kept["ours"])
        while method not in OURS_ALONE and self._wanted("theirs", kept):
            self._once("theirs", method, kept["theirs"])
        goal = GOALS.get(method)
        if "stages" not in kept and (goal is None or (ours_to_limit(self.start, kept) or 0) > goal):
            kept["stages"] = self._profile(method)
        self.record.save()

    def measure_start(self) -> None:
        """Time interpreter and imports of both engines, once a record."""
        starts = self.record.content.setdefault("start", {})
        for engine, python in self._pythons().items():
            if engine not in starts:
                command = [python, "-c", STARTS[engine]]
                runs = [self._watch(command) for _ in range(self.chosen.repeats + 1)]
                starts[engine] = min(used["wall"] for used in runs[1:])
        self.record.content["versions"] = {
            engine: _versions(python) for engine, python in self._pythons().items()
        }
        self.record.save()

    @property
    def start(self) -> dict[str, float]:
        """Seconds of interpreter start and imports by engine."""
        return dict(self.record.content["start"])

    def _pythons(self) -> dict[str, str]:
        pythons = {"ours": sys.executable}
        if "theirs" in self.chosen.engines:
            pythons["theirs"] = str(self.chosen.opponent.absolute() / "bin" / "python")
        return pythons

    def _wanted(self, engine: str, kept: dict[str, Any]) -> bool:
        runs = kept[engine]
        if engine not in self.chosen.engines or (runs and runs[-1]["code"]):
            return False
        slow = engine == "theirs" and any(run["wall"] > self.chosen.once for run in runs)
        return not slow and len(runs) < self.chosen.repeats

    def _limits(self, kept: dict[str, Any]) -> None:
        files = sorted(self.family.rglob("model-*.safetensors"))
        kept["limits"].append(
            measure_limits(files, self.family / "scratch", max(self.size.bytes, 1 << 28))
        )

    def _once(self, engine: str, method: str, runs: list[dict[str, Any]]) -> None:
        flags = OUR_FLAGS if engine == "ours" else THEIR_FLAGS
        shutil.rmtree(self._out, ignore_errors=True)  # a run that was stopped may have left it
        command = [*self._commands[engine], f"{method}.yml", str(self._out), *flags]
        used = self._watch(command, patience=self.chosen.patience)
        runs.append(used)
        self.record.save()
        print(
            f"{method:<18}{engine:<8}{used['wall']:8.2f} s {used['cpu']:8.2f} CPU s "
            f"{used['anonymous'] / 2**20:8.0f} MiB" + ("  FAILED" if used["code"] else ""),
            flush=True,
        )
        if used["code"]:
            print((self.family / "log").read_text(errors="replace")[-2000:])

    def _watch(self, command: Sequence[str], patience: float = 600.0) -> dict[str, Any]:
        os.sync()
        try:
            load = os.getloadavg()[0]
            used = run(command, log=self.family / "log", patience=patience, folder=self.family)
            return {**asdict(used), "load": load}
        finally:
            shutil.rmtree(self._out, ignore_errors=True)

    def _profile(self, method: str) -> list[tuple[str, float]]:
        """Return the functions of ours with the largest shares of a run by one thread."""
        if "ours" not in self.chosen.engines:
            return []
        profile = self.family / "profile"
        arguments = [f"{method}.yml", str(self._out), "--num-threads", "1", *OUR_FLAGS]
        command = [sys.executable, "-c", PROFILED, str(profile), "merge", *arguments]
        self._watch(command, self.chosen.patience)
        return _read_profile(profile) if profile.exists() else []


def _read_profile(file: Path, count: int = 3) -> list[tuple[str, float]]:
    import pstats

    stats: Any = pstats.Stats(str(file))
    stages = [
        (f"{Path(where[0]).name}:{where[2]}" if where[1] else where[2], numbers[2])
        for where, numbers in stats.stats.items()
    ]
    stages.sort(key=lambda stage: -stage[1])
    return [(name, seconds / stats.total_tt) for name, seconds in stages[:count]]


def _versions(python: str) -> dict[str, str]:
    names = ["evomerge", "mergekit", "torch", "transformers", "safetensors"]
    script = (
        "import importlib.metadata as m, json\n"
        f"have = {{d.name for d in m.distributions()}} & set({names})\n"
        "print(json.dumps({n: m.version(n) for n in sorted(have)}))"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def measure_sparse(chosen: argparse.Namespace, record: Record) -> None:
    """Merge two models of holes; keep the peak of anonymous memory."""
    size_bytes = int(chosen.sparse_gb * 1e9)
    _check_space(chosen.scratch, size_bytes)
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        place = Path(folder)
        size = make_sparse(place, chosen.sparse_gb)
        models = [{"model": m, "parameters": {"weight": 0.5}} for m in ("base", "a")]
        document = {"merge_method": "linear", "models": models, "dtype": "bfloat16"}
        (place / "linear.yml").write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "evomerge", "merge", "linear.yml", "out", *OUR_FLAGS]
        used = run(command, log=place / "log", patience=chosen.patience, folder=place)
        if used.code:
            raise SystemExit((place / "log").read_text(errors="replace"))
    record.content["sparse"] = {"bytes": size.bytes, **asdict(used)}
    record.save()
    print(f"sparse {size.bytes / 1e9:.1f} GB: {used.anonymous / 2**20:.0f} MiB anonymous at most")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise SystemExit(
            f"{folder} has {free / 1e9:.1f} GB free, {(needed + SPARE) / 1e9:.1f} GB are needed: "
            "free some space, or name another folder by --scratch"
        )


def _check_memory(size: Size) -> None:
    text = Path("/proc/meminfo").read_text()
    available = 1024 * int(text.split("MemAvailable:")[1].split()[0])
    if available < 7 * size.bytes:
        print(f"only {available / 1e9:.1f} GB of memory: the family may not stay in the page cache")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--opponent", type=Path, default=Path(".venv-mergekit"), help="made by opponent.sh")
    add("--methods", nargs="*", default=[], metavar="NAME", help="all, if none is named")
    add("--size", choices=SIZES, default=FULL)
    add("--family", type=Path, help="a folder to make the family in and to keep")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="for a family not kept")
    add("--results", type=Path, help="default: build/bench-merge-SIZE.json")
    add("--engines", nargs="*", default=["ours", "theirs"], choices=["ours", "theirs"])
    add("--repeats", type=int, default=3)
    add("--once", type=float, default=60.0, help="mergekit runs once where it takes more seconds")
    add("--patience", type=float, default=3600.0, help="most seconds of a run")
    add("--again", action="store_true", help="forget what these engines did with the methods named")
    add("--sparse-gb", type=float, default=0.0, help="merge a sparse model of so many GB, too")
    add("--write", action="store_true", help=f"write the full size's table into docs/{PAGE.name}")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.methods) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe for {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    chosen.methods = chosen.methods or list(RECIPES)
    chosen.results = chosen.results or Path("build") / f"bench-merge-{chosen.size}.json"
    return chosen


def measure_all(chosen: argparse.Namespace, record: Record) -> None:
    """Build the family and measure every method that is not known yet."""
    size = SIZES[chosen.size]
    place = chosen.family or Path(tempfile.mkdtemp(prefix="bench-merge-", dir=chosen.scratch))
    place = place.absolute()
    place.mkdir(parents=True, exist_ok=True)
    try:
        _check_space(place, (2 if (place / "family.json").exists() else 6) * size.bytes)
        _check_memory(size)
        print(f"family of {size.parameters / 1e9:.2f} G parameters in {place}", flush=True)
        make_family(place, size)
        read_all(place)
        bench = Bench(chosen, place, record)
        bench.measure_start()
        for method in chosen.methods:
            bench.measure(method)
    finally:
        if chosen.family is None:
            shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Measure, keep, show."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)  # both engines take as many threads as they take by default
    chosen = read_arguments()
    if "theirs" in chosen.engines and not (chosen.opponent / "bin" / "mergekit-yaml").exists():
        raise SystemExit(f"no mergekit in {chosen.opponent}: benchmarks/opponent.sh makes it")
    record = Record(chosen.results)
    if chosen.again:
        for method in chosen.methods:
            record.forget(method, chosen.engines)
    record.content |= {
        "machine": describe(),
        "date": date.today().isoformat(),
        "parameters": SIZES[chosen.size].parameters,
        "flags": {"evomerge merge": OUR_FLAGS, "mergekit-yaml": THEIR_FLAGS},
    }
    measure_all(chosen, record)
    if chosen.sparse_gb:
        measure_sparse(chosen, record)
    table = render(record.content, order=list(RECIPES))
    print(table)
    if chosen.write and chosen.size == FULL:
        write_into(PAGE, table)


if __name__ == "__main__":
    main()
