"""The one place that configures logging: warnings as one line each, on stderr."""

import logging
import sys


class _OneLine(logging.Formatter):
    """`warning: what happened`, in lower case, without time or place."""

    def format(self, record: logging.LogRecord) -> str:
        """Return level and message."""
        return f"{record.levelname.lower()}: {record.getMessage()}"


def configure_logging(*, verbose: bool = False) -> None:
    """Send this package's log to stderr: warnings, or everything when `verbose`."""
    logger = logging.getLogger("evomerge")
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_OneLine())
        logger.addHandler(handler)
