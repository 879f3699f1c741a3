"""Who works on a run: one process at a time, which holds the lock for as long as it lives."""

import fcntl
from pathlib import Path

LOCK = "lock"


def tell_state(folder: Path, state: str) -> str:
    """Return the state of a run as it is now: one that was killed could not say that it ended.

    Args:
        folder: the run's folder.
        state: as the store has it.
    """
    return "interrupted" if state == "running" and not is_locked(folder) else state


def is_locked(folder: Path) -> bool:
    """Tell whether a process holds the run's lock; yes where that cannot be seen."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
