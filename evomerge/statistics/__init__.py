"""How sure can one be: intervals, exact paired tests, corrections. Knows nothing of models."""

from evomerge.statistics.intervals import bootstrap_interval, mean_interval, wilson_interval
from evomerge.statistics.paired import PairedTest, holm, paired_sign_test

__all__ = [
    "PairedTest",
    "bootstrap_interval",
    "holm",
    "mean_interval",
    "paired_sign_test",
    "wilson_interval",
]
