"""Rows of an embedding, moved to another vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Rows:
    """Where each row of a moved tensor comes from.

    Attributes:
        own: int64, shape (rows,): the row of the tensor itself; -1 where it has none.
        substitutes: for those, the (tensor, row) pairs whose mean stands in; none give zeros.
        padding: so many rows at the end are the mean of all rows before them.
    """

    own: npt.NDArray[np.int64]
    substitutes: Mapping[int, tuple[tuple[Any, int], ...]] = field(default_factory=dict)
    padding: int = 0
