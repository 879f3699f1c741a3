"""The run store: one SQLite file per run, which is the whole state of the run."""

from evomerge.store.database import FILE, RACED_OUT, RunStore, open_store
from evomerge.store.lock import tell_state
from evomerge.store.queries import CandidateRow, RunRow

__all__ = ["FILE", "RACED_OUT", "CandidateRow", "RunRow", "RunStore", "open_store", "tell_state"]
