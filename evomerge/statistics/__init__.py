"""How sure can one be: intervals, exact paired tests, corrections. Knows nothing of models."""

from evomerge.statistics.anchors import Anchors, choose_anchors
from evomerge.statistics.control_variate import (
    MeanEstimate,
    control_variate_mean,
    plain_mean,
)
from evomerge.statistics.intervals import (
    bootstrap_interval,
    combine_intervals,
    mean_interval,
    wilson_interval,
)
from evomerge.statistics.item_response import ItemResponse, estimate_means, fit_item_response
from evomerge.statistics.optimism import Optimism, measure_optimism
from evomerge.statistics.paired import PairedTest, holm, sign_flip_test
from evomerge.statistics.racing import SignRace, count_looks, find_drop

__all__ = [
    "Anchors",
    "ItemResponse",
    "MeanEstimate",
    "Optimism",
    "PairedTest",
    "SignRace",
    "bootstrap_interval",
    "choose_anchors",
    "combine_intervals",
    "control_variate_mean",
    "count_looks",
    "estimate_means",
    "find_drop",
    "fit_item_response",
    "holm",
    "mean_interval",
    "measure_optimism",
    "plain_mean",
    "sign_flip_test",
    "wilson_interval",
]
