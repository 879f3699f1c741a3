"""Whether a run is being worked on is seen from its lock, not from what it last wrote."""

from pathlib import Path

from evomerge.store import open_store, tell_state
from evomerge.store.lock import is_locked


def test_run_is_interrupted_when_nobody_holds_its_lock(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True):
        assert is_locked(tmp_path)
        assert tell_state(tmp_path, "running") == "running"
    assert not is_locked(tmp_path)
    assert tell_state(tmp_path, "running") == "interrupted"
    assert tell_state(tmp_path, "finished") == "finished"


def test_looking_takes_no_lock_and_makes_none(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert not list(tmp_path.iterdir())
    with open_store(tmp_path, write=True):
        pass
    assert not is_locked(tmp_path)
    with open_store(tmp_path, write=True):
        assert is_locked(tmp_path)
