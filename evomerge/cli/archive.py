"""What `evomerge show --archive` shows: what a search of many kinds kept, and what for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evomerge.cli.output import print_json, print_table
from evomerge.errors import StoreError

if TYPE_CHECKING:
    from evomerge.store import CandidateRow


def print_archive(candidates: "Sequence[CandidateRow]", *, as_json: bool) -> None:
    """Print the candidates that the archive held in the end, the best overall first.

    Raises:
        StoreError: there are none.
    """
    kept = sorted((c for c in candidates if c.elite), key=lambda c: (-(c.objective or 0), c.number))
    if not kept:
        raise StoreError(
            "the run has no archive: its searcher keeps none, or the search has not ended",
            "natural_niches, cycle_qd and map_elites keep one; `evomerge resume` ends a search",
        )
    rows = [_row(c) for c in kept]
    if as_json:
        print_json(rows)
    else:
        print_table(f"The archive: {len(rows)} candidates (items that the search saw)", rows)


def _row(c: "CandidateRow") -> dict[str, Any]:
    parents = ", ".join(label.removeprefix("candidate ") for label in c.origin.get("of", ()))
    return {
        "candidate": c.label.removeprefix("candidate "),
        "score": c.objective,
        **c.goals,
        "kept for": c.elite,
        "born": f"{c.origin.get('how', '')} {f'of {parents}' if parents else ''}".strip(),
    }
