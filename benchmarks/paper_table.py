"""The tables of benchmarks/paper.py: from its results to Markdown."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from evaluation_runs import show_mean

from evomerge.zoo.alphabets.lines import EASY, SKILL

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
BEGIN, END = "<!-- bench-paper: begin -->", "<!-- bench-paper: end -->"


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        label: what it is called.
        paper: what the paper has for it, in percent; None where it has nothing.
    """

    label: str
    paper: float | None = None


ROWS: dict[str, Row] = {
    "base": Row("base"),
    "language": Row("language specialist (L)", 9.6),
    "skill": Row("skill specialist (M)", 30.0),
    "uniform": Row("uniform average"),
    "ties": Row("TIES", 4.4),
    "dare_ties": Row("DARE-TIES", 35.2),
    "frankenmerge": Row("frankenmerge", 0.0),
    "grid": Row("best of 49 pairs of global weights"),
    "ps": Row("**parameter space (PS)**", 52.0),
    "dfs": Row("**data-flow space (DFS)**", 36.4),
    "ps_dfs": Row("**PS, then DFS**", 55.2),
    "depth_wise": Row("DFS, one choice a depth"),
    "ps_longer": Row("control: PS, 480 evaluations"),
    "ps_language": Row("control: PS on L alone"),
    "ps_skill": Row("control: PS on M alone"),
    "ps_distractors": Row("PS, two distractors in the pool"),
    "dfs_unscaled": Row("DFS without scales (W = 1)"),
    "dfs_reset": Row("DFS, scales set to 1 afterwards"),
    "dfs_once": Row("DFS, r = 1"),
    "dfs_distractors": Row("DFS, two distractors in the pool"),
}
FIXED = {
    **{name: f"models/{name}" for name in ("base", "language", "skill")},
    **{name: f"{name}.yml" for name in ("uniform", "ties", "dare_ties", "frankenmerge")},
}
"""Row -> what is measured without a search."""
RESET = {"dfs": "dfs_reset"}
"""Row -> the row of its winner without scales."""
SEARCHED = [name for name in ROWS if name not in FIXED and name not in RESET.values()]
SOURCES = ("language", "skill")
PAIRS = (
    ("ps", "grid"),
    ("ps", "ps_language"),
    ("ps", "ps_skill"),
    ("ps_dfs", "ps"),
    ("ps_dfs", "ps_longer"),
    ("ps_distractors", "ps"),
    ("dfs", "language"),
    ("dfs", "frankenmerge"),
    ("dfs", "dfs_unscaled"),
    ("dfs", "dfs_reset"),
    ("dfs", "dfs_once"),
    ("dfs_distractors", "dfs"),
    ("depth_wise", "dfs"),
)
"""Rows whose difference is told."""

Found = Mapping[str, Any]
Results = Mapping[str, Mapping[str, Sequence[Found]]]
"""Row -> family -> what was measured, a search seed each."""
Value = Callable[[Found], float]


def read_results(folder: Path, families: Sequence[Path], rows: Sequence[str]) -> Results:
    """Read what is there of each row and family."""
    results = {
        row: {
            family.name: [
                json.loads(file.read_text())
                for file in sorted((folder / family.name).glob(f"{row}*.json"))
                if file.stem == row or file.stem.removeprefix(f"{row}-").isdigit()
            ]
            for family in families
        }
        for row in rows
    }
    return {row: found for row, found in results.items() if any(found.values())}


def score(found: Found) -> float:
    """Give the share of test items answered rightly in the language, over both tasks."""
    return mean(found["scores"][task] for task in SKILL)


def render(results: Results, facts: Sequence[Found], setting: str) -> str:
    """Write all tables and what they come to."""
    parts = [setting, _render_table(results), _render_pairs(results), *_say(results)]
    parts.append(_render_sources(facts))
    return "\n\n".join(parts)


def write_into(page: Path, text: str) -> None:
    """Replace what stands between the page's markers."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _render_table(results: Results) -> str:
    columns = (
        "|",
        "paper",
        "searches",
        "here",
        "± over searches",
        *SKILL,
        "right in any alphabet",
        "answers in the other alphabet",
        "families above both sources",
    )
    lines = [" | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(_render_row(name, results) for name in results)])


def _render_row(name: str, results: Results) -> str:
    row, found = ROWS[name], results[name]
    cells = [
        row.label,
        "" if row.paper is None else f"{row.paper:.1f}",
        "" if name in FIXED else str(sum(map(len, found.values()))),
        _show(_by_family(found, score)),
        _show_within(found),
        *(_show(_by_family(found, lambda f, t=task: f["scores"][t])) for task in SKILL),
        _show(_by_family(found, _right_in_any)),
        f"{100 * mean(_by_family(found, _elsewhere)):.0f} %",
        _count_above(name, results),
    ]
    return f"| {' | '.join(cells)} |"


def _render_pairs(results: Results) -> str:
    """Write differences between rows, family by family."""
    lines = ["| difference | mean, 95 % interval | by family |", "|---|---|---|"]
    for first, second in PAIRS:
        if first in results and second in results:
            gains = list(_subtract(results[first], results[second]))
            told = ", ".join(f"{gain:+.1f}" for gain in gains)
            label = f"{_plain(first)} less {_plain(second)}"
            lines.append(f"| {label} | {show_mean(gains, '{:.1f}')} | {told} |")
    head = "Paired by family, in points; Student's intervals over families:"
    return "\n".join([head, "", *lines])


def _subtract(
    first: Mapping[str, Sequence[Found]], second: Mapping[str, Sequence[Found]]
) -> Iterator[float]:
    for family, found in first.items():
        if found and second[family]:
            gain = mean(map(score, found)) - mean(map(score, second[family]))
            yield 100 * gain


def _right_in_any(found: Found) -> float:
    return mean(found["scores"][f"{task}_in_any"] for task in SKILL)


def _elsewhere(found: Found) -> float:
    return mean(found["wrong_language"][task] for task in SKILL)


def _by_family(found: Mapping[str, Sequence[Found]], value: Value) -> list[float]:
    """Return the mean over searches of every family."""
    return [mean(map(value, each)) for each in found.values() if each]


def _show(values: Sequence[float]) -> str:
    """Write mean ± standard deviation, in percent."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def _show_within(found: Mapping[str, Sequence[Found]]) -> str:
    """Write the standard deviation over searches within a family, pooled over families."""
    spreads = [stdev(map(score, each)) for each in found.values() if len(each) > 1]
    return f"{100 * math.sqrt(mean(s * s for s in spreads)):.1f}" if spreads else ""


def _best_sources(results: Results) -> dict[str, float]:
    known = [results[name] for name in SOURCES if name in results]
    families = {family for found in known for family, each in found.items() if each}
    return {
        family: max(score(found[family][0]) for found in known if found[family])
        for family in sorted(families)
    }


def _count_above(name: str, results: Results) -> str:
    if name in SOURCES:
        return ""
    best = _best_sources(results)
    pairs = [
        (mean(map(score, each)), best[family])
        for family, each in results[name].items()
        if each and family in best
    ]
    return f"{sum(own > other for own, other in pairs)} of {len(pairs)}"


def _say(results: Results) -> Iterator[str]:
    """Say how the order here compares with the paper's."""
    known = {
        name: mean(_by_family(found, score))
        for name, found in results.items()
        if ROWS[name].paper is not None
    }
    if len(known) < 2:
        return
    papers = {name: ROWS[name].paper or 0.0 for name in known}
    yield f"The paper's order: {_order(papers)}.  \nHere: {_order(known)}."
    turned = [
        f"{_plain(a)} and {_plain(b)}"
        for a, b in combinations(known, 2)
        if (papers[a] - papers[b]) * (known[a] - known[b]) < 0
    ]
    pairs = math.comb(len(known), 2)
    told = f": {'; '.join(turned)}" if turned else ""
    yield f"Of {pairs} pairs, {len(turned)} stand the other way round here{told}."


def _order(values: Mapping[str, float]) -> str:
    return " < ".join(_plain(name) for name in sorted(values, key=lambda name: values[name]))


def _plain(name: str) -> str:
    return ROWS[name].label.replace("*", "")


def _render_sources(facts: Sequence[Found]) -> str:
    """Write what the sources can do, on inputs of no split, by teacher forcing."""
    columns = {
        "easy tasks, small letters": [f"{task} small" for task in EASY],
        "easy tasks, capitals": [f"{task} capital" for task in EASY],
        "skill, small letters": [f"{task} small" for task in SKILL],
        "skill, capitals (the target)": [f"{task} capital" for task in SKILL],
    }
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for model in facts[0]["scores"]:
        cells = [
            _show([mean(family["scores"][model][kind] for kind in kinds) for family in facts])
            for kinds in columns.values()
        ]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    bases = ", ".join(f"{100 * family['base']['target']:.1f}" for family in facts)
    seeds = ", ".join(str(family["seed"]) for family in facts)
    head = f"What the sources can do (families {seeds}; bases taken at {bases} on the target):"
    return "\n".join([head, "", *lines])
