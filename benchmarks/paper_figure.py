"""The picture of benchmarks/paper.py: the paths that its searches found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evomerge.recipe import find_hops, is_path, parse_recipe

PICTURE = Path(__file__).parents[1] / "docs" / "paper-paths.svg"
ROWS = {"dfs": "DFS", "ps_dfs": "PS, then DFS"}
"""Rows whose paths are shown -> what stands beside them."""
KINDS = {
    "language": ("language specialist (L)", "#0072b2", "o"),
    "skill": ("skill specialist (M)", "#d55e00", "s"),
    "merge": ("merge found by PS", "#009e73", "D"),
}
"""What a hop's layer may come from -> its label, colour (Okabe and Ito's) and marker."""
AREA = 36.0
"""Of a marker whose scale is 1, in square points; areas are as the squares of scales."""


def draw_paths(results: Path, families: Sequence[Path], picture: Path = PICTURE) -> None:
    """Draw the path of the first search of every family: layer over hop, size by scale.

    Of a row of which a result is missing nothing is drawn.

    Args:
        results: folder of the benchmark's results.
        families: their folders, in order.
        picture: an SVG file, whose bytes depend on the paths alone.
    """
    files = {row: [results / one.name / f"{row}-0.json" for one in families] for row in ROWS}
    found = {
        row: [_read(file) for file in own]
        for row, own in files.items()
        if all(file.exists() for file in own)
    }
    if not found:
        return
    width, height = 2.2 * len(families) + 0.6, 2.1 * len(found) + 0.5
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = figure.subplots(len(found), len(families), sharex="row", sharey=True, squeeze=False)
    for line, (row, paths) in zip(panels, found.items(), strict=True):
        for axes, family, path in zip(line, families, paths, strict=True):
            _draw(axes, path)
            axes.set_title(f"{ROWS[row]}, {family.name.replace('-', ' ')}", fontsize=9)
        line[0].set_ylabel("layer")
    for axes in panels[-1]:
        axes.set_xlabel("hop")
    figure.legend(
        handles=_explain(found), loc="outside lower center", ncols=6, frameon=False, fontsize=9
    )
    with mpl.rc_context({"svg.hashsalt": "paths", "svg.fonttype": "none"}):
        figure.savefig(picture, metadata={"Date": None, "Creator": None})


def _read(file: Path) -> list[tuple[str, int, float]]:
    """Return (kind of source, layer, scale) of every hop; nothing where the merge itself won."""
    recipe, _ = parse_recipe(json.loads(file.read_text())["recipe"])
    hops = find_hops(recipe) if is_path(recipe) else ()
    return [(_kind(hop.model), hop.layer, hop.scale) for hop in hops]


def _kind(model: Any) -> str:
    return Path(model).name if isinstance(model, str) else "merge"


def _draw(axes: Axes, path: Sequence[tuple[str, int, float]]) -> None:
    if not path:
        told = "no path:\nthe merge itself"
        axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", va="center", fontsize=8)
    axes.plot(range(len(path)), [layer for _, layer, _ in path], color="0.75", zorder=1)
    for kind, (_, color, marker) in KINDS.items():
        hops = [
            (place, layer, scale) for place, (own, layer, scale) in enumerate(path) if own == kind
        ]
        if hops:
            places, layers, scales = zip(*hops, strict=True)
            axes.scatter(
                places, layers, [AREA * s * s for s in scales], c=color, marker=marker, zorder=2
            )
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)


def _explain(found: Mapping[str, Sequence[Sequence[tuple[str, int, float]]]]) -> list[Line2D]:
    """Return the legend: sources that occur, and two sizes."""
    present = {kind for paths in found.values() for path in paths for kind, _, _ in path}
    sources = [
        Line2D([], [], linestyle="", color=color, marker=marker, label=label)
        for kind, (label, color, marker) in KINDS.items()
        if kind in present
    ]
    sizes = [
        Line2D(
            [],
            [],
            linestyle="",
            color="0.5",
            marker="o",
            markersize=AREA**0.5 * scale,
            label=f"scale {scale:g}",
        )
        for scale in (0.5, 1.0, 1.5)
    ]
    return [*sources, *sizes]
