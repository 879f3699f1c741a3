"""What the float64 references share: fine-tuned models, and rounding in one step."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Draw = Callable[..., list[Tensor]]
Matches = Callable[[Tensor, Array], float]


@pytest.fixture
def draw() -> Draw:
    """Return a function that makes a base and models small steps away from it."""

    def make(
        dtype: torch.dtype, rms: float, shape: tuple[int, ...] = (700, 200), models: int = 3
    ) -> list[Tensor]:
        generator = torch.Generator().manual_seed(11)
        base = torch.randn(shape, generator=generator) * 0.02
        steps = [torch.randn(shape, generator=generator) * rms for _ in range(models)]
        return [base.to(dtype), *((base + step).to(dtype) for step in steps)]

    return make


@pytest.fixture
def matches() -> Matches:
    """Return a function that tells the share of a result that is the reference, rounded once."""

    def share(result: Tensor, reference: Array) -> float:
        rounded = {torch.bfloat16: round_to_bfloat16, torch.float16: round_to_float16}
        wanted = rounded[result.dtype](reference)
        return float((result.double().numpy() == wanted).mean())

    return share


def round_to_bfloat16(values: Array) -> Array:
    """Round float64 to 8 significant bits, half to even, in one step."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 256), exponent - 8))


def round_to_float16(values: Array) -> Array:
    return values.astype(np.float16).astype(np.float64)
