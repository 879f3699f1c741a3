"""The built-in suite: seven small tests, their items and what grades them."""

from evomerge.evaluation.suite.battery import Suite

__all__ = ["Suite"]
