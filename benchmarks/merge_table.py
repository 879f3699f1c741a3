"""The table of benchmarks/merge.py: from its record to Markdown."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from signal import SIGKILL
from statistics import median
from typing import Any

GOALS = {
    **dict.fromkeys(("passthrough", "linear", "task_arithmetic", "slerp", "model_stock"), 1.5),
    **dict.fromkeys(("ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties"), 2.5),
    **dict.fromkeys(("sce", "nearswap", "nuslerp"), 2.5),
}
"""Most multiples of the limit that a method shall take; the others name their limiting stage."""
OURS_ALONE = ("tsv_m", "iso_c", "iso_cts", "lines")
"""Methods that mergekit does not have."""
BEGIN, END = "<!-- bench-merge: begin -->", "<!-- bench-merge: end -->"
Method = dict[str, Any]
LEAST = 1e-3
"""Seconds: what a merge takes at least, however the start of the process varies."""


def best_limits(kept: Iterable[Method]) -> dict[str, float]:
    """Return the best speed of each kind that was measured, over threads too."""
    limits: dict[str, float] = {}
    for method in kept:
        for measured in method["limits"]:
            for name, speed in measured.items():
                kind = name.split(",")[0]
                limits[kind] = max(limits.get(kind, 0.0), speed)
    return limits


def limit_seconds(kept: Method) -> float:
    """Return the least seconds the machine needs to read a method's inputs and write its result."""
    limits, (read, written) = best_limits([kept]), kept["bytes"]
    return float(read / limits["read"] + written / limits["write and fsync"])


def ours_to_limit(start: dict[str, float], kept: Method) -> float | None:
    """Return our best time, without interpreter and imports, in multiples of the limit."""
    seconds = _merging(start, kept)
    return seconds / limit_seconds(kept) if seconds and kept["limits"] else None


def _merging(start: dict[str, float], kept: Method) -> float | None:
    walls = _walls(kept["ours"])
    return max(min(walls) - start["ours"], LEAST) if walls else None


def ratios(start: dict[str, float], kept: Method) -> tuple[float, float] | None:
    """Return mergekit's median time over ours: whole processes, and without their starts."""
    ours, theirs = _walls(kept["ours"]), _walls(kept["theirs"])
    if not ours or not theirs:
        return None
    a, b = median(ours), median(theirs)
    return b / a, (b - start["theirs"]) / max(a - start["ours"], LEAST)


def render(content: dict[str, Any], order: Sequence[str]) -> str:
    """Return the whole report as Markdown."""
    known = content["methods"]
    methods = {name: known[name] for name in order if known.get(name, {}).get("ours")}
    start = content["start"]
    return "\n\n".join(
        [
            _render_setting(content, _highest_load(methods.values())),
            _render_limits(best_limits(methods.values()), start),
            _render_rows(
                AGAINST_MACHINE, [_machine_row(n, kept, start) for n, kept in methods.items()]
            ),
            _render_rows(
                AGAINST_MERGEKIT, [_mergekit_row(n, kept, start) for n, kept in methods.items()]
            ),
            *_render_means(methods, start),
            *_render_stages(methods),
            *_render_sparse(content.get("sparse")),
        ]
    )


def write_into(page: Path, table: str) -> None:
    """Replace what stands between the page's markers."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _highest_load(methods: Iterable[Method]) -> float:
    runs = (run for kept in methods for run in (*kept["ours"], *kept["theirs"]))
    return max((run["load"] for run in runs), default=0.0)


def _render_setting(content: dict[str, Any], load: float) -> str:
    versions = "; ".join(
        ", ".join(f"{name} {version}" for name, version in found.items())
        for found in content["versions"].values()
    )
    flags = "; ".join(f"`{name} {' '.join(f)}`" for name, f in content["flags"].items())
    size = content["parameters"] / 1e9
    return (
        f"{content['date']}, {content['machine']}. {versions}. "
        f"Models of {size:.2f} G parameters in bf16. Flags: {flags}. "
        f"Highest load average before a run: {load:.1f}."
    )


def _render_limits(limits: dict[str, float], start: dict[str, float]) -> str:
    speeds = ", ".join(f"{name} {speed / 1e9:.2f}" for name, speed in limits.items())
    starts = " s, ".join(f"{NAMES[engine]} {wall:.2f}" for engine, wall in start.items())
    return f"Limits, GB/s: {speeds}.\n\nInterpreter start and imports: {starts} s."


NAMES = {"ours": "evomerge", "theirs": "mergekit"}
AGAINST_MACHINE = (
    "method", "GB in + out", "wall s, best (median)", "CPU s", "anonymous MiB", "GB/s",
    "limit s", "× limit", "goal",
)  # fmt: skip
AGAINST_MERGEKIT = (
    "method", "evomerge s", "mergekit s, best (median)", "mergekit CPU s",
    "mergekit anonymous MiB", "times faster", "without start",
)  # fmt: skip


def _render_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine_row(name: str, kept: Method, start: dict[str, float]) -> list[str]:
    read, written = kept["bytes"]
    seconds, over, goal = _merging(start, kept), ours_to_limit(start, kept), GOALS.get(name)
    return [
        name,
        f"{read / 1e9:.1f} + {written / 1e9:.1f}",
        *_engine(kept["ours"]),
        f"{(read + written) / 1e9 / seconds:.2f}" if seconds else "–",
        f"{limit_seconds(kept):.2f}" if kept["limits"] else "–",
        "–" if over is None else f"{over:.1f}" + (" ✗" if goal and over > goal else ""),
        f"{goal}" if goal else "stage",
    ]


def _mergekit_row(name: str, kept: Method, start: dict[str, float]) -> list[str]:
    times = ratios(start, kept)
    faster = ("–", "–") if times is None else (f"{times[0]:.1f}", f"{times[1]:.1f}")
    return [name, _engine(kept["ours"])[0], *_engine(kept["theirs"]), *faster]


def _ending(runs: Sequence[dict[str, Any]]) -> str:
    """Say what became of runs none of which ended well."""
    if not runs:
        return "–"
    last = runs[-1]
    return f"> {last['wall']:.0f}, stopped" if last["code"] == -SIGKILL else "failed"


def _engine(runs: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    walls = _walls(runs)
    if not walls:
        return _ending(runs), "–", "–"
    good = [run for run in runs if not run["code"]]
    wall = f"{min(walls):.2f}" + (f" ({median(walls):.2f})" if len(walls) > 1 else " (one run)")
    memory = max(run["anonymous"] for run in good) / 2**20
    return wall, f"{median(run['cpu'] for run in good):.1f}", f"{memory:.0f}"


def _render_means(methods: dict[str, Method], start: dict[str, float]) -> list[str]:
    found = [pair for kept in methods.values() if (pair := ratios(start, kept))]
    if not found:
        return []
    whole, inner = (math.exp(sum(map(math.log, r)) / len(r)) for r in zip(*found, strict=True))
    return [
        f"Geometric mean over {len(found)} methods: **{whole:.1f} times faster**, "
        f"{inner:.1f} without interpreter and imports."
    ]


def _render_stages(methods: dict[str, Method]) -> list[str]:
    lines = [
        f"- {name}: " + ", ".join(f"`{stage}` {share:.0%}" for stage, share in kept["stages"])
        for name, kept in methods.items()
        if kept.get("stages")
    ]
    title = "What holds the methods that are beyond their goal or have none:"
    return [f"{title}\n\n" + "\n".join(lines)] if lines else []


def _render_sparse(sparse: dict[str, Any] | None) -> list[str]:
    if sparse is None:
        return []
    return [
        f"A sparse model of {sparse['bytes'] / 1e9:.1f} GB merged with another by linear: "
        f"{sparse['anonymous'] / 2**20:.0f} MiB anonymous memory at most, {sparse['wall']:.0f} s."
    ]


def _walls(runs: Sequence[dict[str, Any]]) -> list[float]:
    return [float(run["wall"]) for run in runs if not run["code"]]
