"""Keys and values that several rows share: which caches can be used so, and how.

A cache is that of the transformers library: layers with `keys` and `values` [rows, heads, places,
size]. Recurrent states, compressed or indexed attention are none of that; such models are run row
by row in full.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WHOLE = "DynamicLayer"
WINDOW = "DynamicSlidingWindowLayer"
NOTHING = "DummyLayer"


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a model's caches can be used for.

    Attributes:
        branches: rows may be copied, so that several continuations share a context.
        spreads: places may be moved, so that several contexts share a prefix. Sliding windows
            forbid it: they keep the last places only.
        trees: one row may hold several continuations that do not see each other.
    """

    branches: bool = False
    spreads: bool = False
    trees: bool = False

    def __and__(self, other: "Sharing") -> "Sharing":
        """Return what both can be used for."""
        return Sharing(
            self.branches and other.branches,
            self.spreads and other.spreads,
            self.trees and other.trees,
        )


def inspect_cache(cache: Any) -> Sharing:
    """Tell what a cache can be used for, by its layers and not by the model's name."""
    kinds = {type(layer).__name__ for layer in getattr(cache, "layers", None) or [cache]}
    return Sharing(kinds <= {WHOLE, WINDOW, NOTHING}, kinds <= {WHOLE, NOTHING})


def branch(cache: Any, rows: Tensor) -> Any:
    """Return a cache whose row k is row `rows[k]` of this one, which stays as it is."""
    made = _copy(cache)
    made.batch_select_indices(rows)
    return made


def spread(cache: Any, gaps: Tensor) -> Any:
    """Return a cache with a row per gap: the only row of this one, moved right by the gap.

    What falls out at the right has to be computed again; what comes in at the left is to be masked.

    Args:
        cache: of one row, with a place for every token (`Sharing.spreads`).
        gaps: places to move, not negative, [rows].
    """
    made = _copy(cache)
    for layer in made.layers:
        if layer.keys is not None:
            places = torch.arange(layer.keys.shape[2], device=gaps.device)
            chosen = (places - gaps[:, None]).clamp_(min=0)
            layer.keys = layer.keys[0][:, chosen].transpose(0, 1)
            layer.values = layer.values[0][:, chosen].transpose(0, 1)
    return made


def with_layers(cache: Any, layers: Sequence[Any]) -> Any:
    """Return a cache of the same sort that consists of these layers, which it adds to."""
    made = copy.copy(cache)
    made.layers = list(layers)
    return made


def _copy(cache: Any) -> Any:
    """Return a cache with the same tensors; its layers replace theirs as they grow."""
    return with_layers(cache, [copy.copy(layer) for layer in cache.layers])
