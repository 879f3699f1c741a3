"""What a candidate is, as far as its genome says it in words, and how it came about."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from evomerge.records import Origin

if TYPE_CHECKING:
    from evomerge.evolve.encodings import Encoding
    from evomerge.types import Genome


@runtime_checkable
class InWords(Protocol):
    """A genome whose points can be told in a few words."""

    def describe(self, genome: "Genome") -> str:
        """Return the words."""
        ...


def name_origin(
    encoding: "Encoding", genome: "Genome", origin: Origin, before: int
) -> dict[str, Any]:
    """Return an origin as people read it; empty where nothing is known of it.

    Args:
        encoding: decodes the genome, and may have words for it.
        genome: the candidate's.
        origin: where it comes from.
        before: candidates before those that the searcher counts.

    Returns:
        'what' it is, where there are words for it, 'how' it came about, and 'of' which others.
    """
    what = encoding.describe(genome) if isinstance(encoding, InWords) else ""
    found = {"how": origin.how, "of": [f"candidate {before + k}" for k in origin.parents]}
    return {**({"what": what} if what else {}), **found} if what or origin.how else {}


def say_origin(label: str, origin: Mapping[str, Any]) -> str:
    """Return the sentence that tells what a merge is; empty where there are no words for it."""
    if not origin.get("what"):
        return ""
    since = f" ({say_how(origin)})" if origin.get("of") else ""
    return f"The merge is {label}: {origin['what']}{since}."


def say_how(origin: Mapping[str, Any]) -> str:
    """Return how a candidate came about: `merger of 1, 4`."""
    parents = ", ".join(label.removeprefix("candidate ") for label in origin.get("of", ()))
    return f"{origin.get('how', '')} of {parents}" if parents else str(origin.get("how", ""))
