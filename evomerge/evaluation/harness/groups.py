"""Which tasks a name stands for: the one that is meant, or a group's members with their shares."""

from collections.abc import Mapping

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness.catalogue import Entry, Listing
from evomerge.evaluation.harness.documents import split_documents
from evomerge.evaluation.harness.explanation import explained
from evomerge.evaluation.harness.tasks import build_task


def pick_task(name: str, listing: Listing) -> Entry:
    """Return the one task that is meant.

    Raises:
        EvaluationError: there are several.
    """
    named = [entry for entry in listing.tasks if entry.name == name]
    if not named and len(listing.tasks) != 1:
        members = ", ".join(entry.name for entry in listing.tasks[:5])
        raise EvaluationError(f"{name} stands for several tasks ({members} …)", "Name one of them")
    return (named or listing.tasks)[0]


def find_shares(listing: Listing, metric: str) -> Mapping[str, float]:
    """Return a group's members with their shares, as its aggregation of a metric has them.

    Where that goes by size, members' data are read to count the documents.

    Args:
        listing: the group.
        metric: 'metric,filter' or 'metric'.

    Raises:
        EvaluationError: a member cannot be made, or its data are out of reach.
    """
    sizes = [1.0] * len(listing.tasks)
    if _weighs_by_size(listing, metric):
        sizes = [float(_size(entry)) for entry in listing.tasks]
    return {e.name: size / sum(sizes) for e, size in zip(listing.tasks, sizes, strict=True)}


def _weighs_by_size(listing: Listing, metric: str) -> bool:
    wanted = metric.partition(",")[0]
    stated = [entry for entry in listing.aggregates if entry.get("metric") == wanted]
    return bool(stated) and bool(stated[0].get("weight_by_size", True))


def _size(entry: Entry) -> int:
    with explained(entry):
        splits = split_documents(build_task(entry, 0, None))
    return len(splits.get("test", splits.get("validation", ())))
