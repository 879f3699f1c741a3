"""What is no number in any input shows in the result of every method: the engine then names it."""

import math

import pytest
import torch

from evomerge.methods import METHODS, merge_tensors
from evomerge.methods.spec import MISSING

SHAPE = (40, 30)


@pytest.mark.parametrize("place", ["base", "first model", "last model"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("method", METHODS.names())
def test_no_method_hides_what_is_no_number(method: str, odd: float, place: str) -> None:
    spec = METHODS.get(method)
    generator = torch.Generator().manual_seed(0)
    count = max(spec.min_models, min(3, spec.max_models or 3))
    base, *models = (torch.randn(SHAPE, generator=generator) for _ in range(count + 1))
    changed = {"base": base, "first model": models[0], "last model": models[-1]}[place]
    changed[3, 4] = odd
    values = {n: 0.5 for n, p in spec.parameters.items() if p.default is MISSING}
    for origin in [base] * (spec.base != "none") + [None] * (spec.base != "required"):
        if origin is not None or place != "base":
            merged = merge_tensors(method, models, origin, **values)
            assert not bool(torch.isfinite(merged).all())
