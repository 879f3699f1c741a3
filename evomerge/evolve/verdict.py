"""Did it really get better? Estimates with intervals, paired tests, and plain words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from evomerge.evaluation import Task
from evomerge.evolve.comparison import Entry, Estimate, Line, Scores, compare
from evomerge.statistics import Optimism, measure_optimism

LISTS = ("untested", "seen", "marks", "flags", "lowered", "missed")

__all__ = ["Estimate", "Line", "Scores", "Verdict", "reach_verdict", "read_verdict"]


@dataclass(frozen=True)
class Verdict:
    """The table, the sentence, and what it rests on.

    Attributes:
        sentence: what to believe, in plain words.
        better: whether the winner beats every parent and every default.
        lines: winner first.
        items: number of test items.
        search_score: the winner's objective on the search items.
        validation_score: and on the validation items.
        optimism: by how much the search score was too high.
        untested: tasks that give one number for all items, so that no test rests on them.
        seen: tasks that ask the same at every split, so that the search saw the test.
        marks: what a reader must know of how the winner was found.
        flags: what is suspicious about the winner's answers.
        lowered: tasks whose scores the run wants low.
        check: how the exported folder's scores compare with those of the run.
        failures: how many candidates of the search failed, and mostly why; empty if none did.
        drift: how far the folder of a baked path is from the path, as `Drift` has it.
        path: the winner's layers in a line, where it is a path.
        tradeoff: how the winner does goal by goal and by its bounds, where there are any.
        missed: tasks whose bounds it does not keep on the test items.
    """

    sentence: str
    better: bool
    lines: tuple[Line, ...]
    items: int
    search_score: float | None
    validation_score: float | None
    optimism: Optimism | None = None
    untested: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()
    check: str = ""
    failures: str = ""
    drift: Mapping[str, Any] | None = None
    path: str = ""
    tradeoff: str = ""
    missed: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Tell whether there is a reason to doubt what the numbers say, or a bound is missed."""
        return bool(self.seen or self.marks or self.flags or self.missed)

    def add_check(self, check: str, suspicious: Sequence[str]) -> "Verdict":
        """Return the verdict that also tells how the exported folder was scored."""
        flags = (*self.flags, *suspicious)
        found = _say_suspicious(suspicious)
        sentence = " ".join(filter(None, [self.sentence, check, found]))
        return replace(self, sentence=sentence, check=check, flags=flags)

    def to_values(self) -> dict[str, Any]:
        """Return plain values for the store."""
        return asdict(self)


def read_verdict(values: Mapping[str, Any]) -> Verdict:
    """Turn stored values back into a Verdict; what older versions did not store is empty."""

    def line(raw: Mapping[str, Any]) -> Line:
        overall = Estimate(**raw["overall"]) if raw["overall"] else None
        tasks = {name: Estimate(**found) for name, found in raw["tasks"].items()}
        return Line(**{**raw, "overall": overall, "tasks": tasks})

    optimism = values.get("optimism")
    lists = {name: tuple(values.get(name, ())) for name in LISTS}
    return Verdict(
        **{
            **values,
            **lists,
            "lines": tuple(line(raw) for raw in values["lines"]),
            "optimism": Optimism(**optimism) if optimism else None,
        }
    )


def reach_verdict(
    tasks: Sequence[Task],
    entries: Sequence[Entry],
    *,
    search_score: float | None = None,
    validation_score: float | None = None,
    marks: Sequence[str] = (),
    flags: Sequence[str] = (),
    failures: str = "",
) -> Verdict:
    """Compare the winner with all others on the test items.

    Args:
        tasks: of the run.
        entries: (label, kind, scores or the reason there are none), winner first.
        search_score: the winner's objective on the search items.
        validation_score: and on the validation items.
        marks: what a reader must know of how the winner was found, a sentence each.
        flags: what is suspicious about the winner's answers, half-sentences.
        failures: how many candidates failed, and mostly why; a sentence.
    """
    lines = compare(tasks, entries)
    items = sum(len(task.items["test"]) for task in tasks)
    measured = any(line.overall for line in lines[1:])
    better = measured and all(line.beaten for line in lines[1:])
    untested = tuple(task.name for task in tasks if not task.evaluator.per_item)
    seen = tuple(task.name for task in tasks if not task.evaluator.holds_out)
    measurable = not untested and not seen  # else a part of the score has no error to tell
    optimism = _find_optimism(search_score, lines[0]) if measurable else None
    parts = [
        _say(lines, items, better),
        _say_optimism(search_score, optimism),
        _say_untested(untested, len(tasks)),
        f"The search saw what was asked by {', '.join(seen)}: nothing is held out." if seen else "",
        *(f"{mark.rstrip('.')}." for mark in marks),
        _say_suspicious(flags),
        failures,
    ]
    return Verdict(
        " ".join(filter(None, parts)),
        better,
        lines,
        items,
        search_score,
        validation_score,
        optimism=optimism,
        untested=untested,
        seen=seen,
        marks=tuple(marks),
        flags=tuple(flags),
        lowered=tuple(task.name for task in tasks if task.direction < 0),
        failures=failures,
    )


def _find_optimism(search_score: float | None, winner: Line) -> Optimism | None:
    found = winner.overall
    if search_score is None or found is None or found.low is None or found.high is None:
        return None
    if math.isclose(found.low, found.high, rel_tol=1e-12):
        return None  # a single score, or all the same: its error is not known
    return measure_optimism(search_score, found.mean, found.low, found.high)


def _say(lines: Sequence[Line], items: int, better: bool) -> str:
    winner, baselines = lines[0], [line for line in lines[1:] if line.overall]
    assert winner.overall is not None
    measured = f"on {items} untouched test items: {_show(winner.overall)}"
    if not baselines:
        return f"The merge scores {measured}; there was nothing to compare it with."
    strongest = max(baselines, key=lambda line: line.overall.mean if line.overall else -math.inf)
    assert strongest.overall is not None
    against = f"against {_show(strongest.overall)} of the strongest of them, {strongest.label}"
    if better:
        worst = max(line.p_value or 0.0 for line in baselines)
        return (
            f"The merge beats every parent and every default recipe {measured} {against} "
            f"(paired exact tests, largest p {_show_p(worst)})."
        )
    reasons = "".join(f" {reason}" for reason in _reasons(lines[1:]))
    return f"The merge did NOT beat everything {measured} {against}.{reasons}"


def _reasons(baselines: Sequence[Line]) -> Iterator[str]:
    """Say who is better than the merge, over whom its lead may be chance, who is unmeasured."""
    found = [line for line in baselines if line.overall and not line.beaten]
    ahead = [line for line in found if line.ahead]
    level = [line for line in found if (line.difference or 0.0) <= 0 and not line.ahead]
    close = [line for line in found if (line.difference or 0.0) > 0]
    failed = [line.label for line in baselines if line.failure]
    if ahead:
        yield f"It is worse than {_list(ahead)}."
    if level:
        yield f"It is no better than {_list(level)}."
    if close:
        yield f"Its lead may be chance over {_list(close)}."
    if failed:
        yield f"Could not be evaluated: {', '.join(failed)}."


def _say_optimism(search_score: float | None, found: Optimism | None) -> str:
    if search_score is None or found is None:
        return ""
    claim = f"Its search score of {search_score:.3f}"
    limits = f"[{found.low:+.3f}, {found.high:+.3f}]"
    if found.certain:
        return f"{claim} was {found.mean:.3f} {limits} too high: the best of many is also lucky."
    if found.high < 0:
        limits = f"[{0 - found.high:+.3f}, {0 - found.low:+.3f}]"
        return f"{claim} was {-found.mean:.3f} {limits} too low: the test items are easier."
    return f"{claim} holds, as far as can be told: it is off by {found.mean:+.3f} {limits}."


def _say_untested(names: Sequence[str], tasks: int) -> str:
    if not names:
        return ""
    one = len(names) == 1
    told = f"task{'s' * (not one)} {', '.join(names)} give{'s' * one} one number for all items"
    if len(names) == tasks:
        return f"There is neither interval nor test, because {told}."
    return f"{told[0].upper()}{told[1:]}: in the scores, but in no interval and no test."


def _say_suspicious(flags: Sequence[str]) -> str:
    return f"Suspicious: {'; '.join(flags)}." if flags else ""


def _list(lines: Sequence[Line]) -> str:
    return ", ".join(
        f"{'the parent ' if line.kind == 'parent' else ''}{line.label} "
        f"({line.difference:+.3f}{_show_test(line)})"
        for line in lines
    )


def _show(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _show_test(line: Line) -> str:
    return "" if line.p_value is None else f", p {_show_p(line.p_value)}"


def _show_p(p_value: float) -> str:
    return f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
