"""What `evomerge show --pareto` shows: the fronts of a run, their knees, how far it has come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evomerge.cli.output import console, print_json, print_table
from evomerge.errors import StoreError
from evomerge.evolve.front import EXACT, SAMPLES, Front, find_front, measure_progress

if TYPE_CHECKING:
    from evomerge.store import CandidateRow, RunRow

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 60
"""Most bars in a line."""
FRONTS = {
    "search": "The front on the items that the search saw",
    "validation": "The front on validation items, which the search did not see",
}


def print_fronts(run: "RunRow", candidates: "Sequence[CandidateRow]", *, as_json: bool) -> None:
    """Print the front of the search, and the one of its finalists on validation items.

    Raises:
        StoreError: the run has one goal, or no candidate of it has been measured yet.
    """
    stages = {name: [c for c in candidates if c.stage == name] for name in ("probe", *FRONTS)}
    fronts = {name: find_front(stages[name]) for name in FRONTS}
    if fronts["search"] is None:
        raise _explain(run, stages["probe"])
    parents = [row for row in stages["probe"] if row.round == 0]
    volumes = measure_progress(parents, stages["search"])
    if as_json:
        found = {name: _values(front) for name, front in fronts.items() if front}
        print_json({"fronts": found, "hypervolume": volumes})
        return
    for name, front in fronts.items():
        if front:
            _print_front(name, front, len(stages[name]))
    _print_progress(volumes, len(fronts["search"].goals))


def _explain(run: "RunRow", parents: "Sequence[CandidateRow]") -> StoreError:
    if any(row.goals for row in parents):
        return StoreError(
            f"no candidate of {run.name} has met all items yet", "Wait for the first of them"
        )
    return StoreError(
        f"{run.name} has one goal, so there is no front",
        "Name two tasks or more as `objectives` in a run file",
    )


def _print_front(stage: str, front: Front, tried: int) -> None:
    title = f"{FRONTS[stage]}: {len(front.rows)} of {tried} candidates"
    missed = any(row.violation for row in front.rows)
    rows = [
        {
            "": "knee" if place == front.knee else "",
            "candidate": row.label.removeprefix("candidate "),
            **row.goals,
            **({"bounds missed by": row.violation} if missed else {}),
            "all, weighted": row.objective,
        }
        for place, row in enumerate(front.rows)
    ]
    console.print(title, style="italic")
    print_table("", rows)
    if any(value < 0.0 for row in front.rows for value in row.goals.values()):
        console.print(
            "More is better in every goal; of what the run wants low, the negative is shown."
        )
    console.print()


def _print_progress(volumes: Sequence[float], goals: int) -> None:
    if not volumes:
        return
    told = f"{volumes[0]:.3f} after the first generation, {volumes[-1]:.3f} after {len(volumes)}"
    console.print(f"Hypervolume: {draw_bars(volumes)}  {told}.")
    console.print(
        "0 is the worst parent in every goal, 1 a merge as good as the best parent of every goal.",
        style="italic",
    )
    if goals > EXACT:
        told = f"With more than {EXACT} goals it is an estimate, at {SAMPLES} fixed points."
        console.print(told, style="italic")


def draw_bars(values: Sequence[float]) -> str:
    """Return a line of bars from the least value to the greatest; of many values, some."""
    step = max(1, -(-len(values) // WIDEST))
    shown = [*values[: len(values) - 1 : step], values[-1]]
    least, extent = min(shown), (max(shown) - min(shown)) or 1.0
    shares = [(value - least) / extent for value in shown]
    return "".join(BARS[min(int(share * len(BARS)), len(BARS) - 1)] for share in shares)


def _values(front: Front) -> dict[str, Any]:
    rows = [
        {
            "candidate": row.label,
            "goals": row.goals,
            "violation": row.violation,
            "overall": row.objective,
        }
        for row in front.rows
    ]
    return {"goals": front.goals, "candidates": rows, "knee": front.rows[front.knee].label}
