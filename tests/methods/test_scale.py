"""No method has a smallest change it knows of, but those that take a distance or a softmax."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.methods import METHODS, merge_tensors
from evomerge.methods.spec import MISSING

WITH_A_SCALE = {"nearswap", "ram", "ramplus_tl", "arcee_fusion"}
SCALE_FREE = sorted(set(METHODS.names()) - WITH_A_SCALE)
OPTIONS = {"sce": {"select_topk": 0.4}, "multislerp": {"eps": 0.0}}


@pytest.mark.parametrize("method", SCALE_FREE)
@settings(deadline=None, max_examples=8)
@given(exponent=st.integers(-40, 40), seed=st.integers(0, 99))
def test_scaled_models_merge_to_the_scaled_result(method: str, exponent: int, seed: int) -> None:
    spec = METHODS.get(method)
    generator = torch.Generator().manual_seed(seed)
    count = max(spec.min_models, min(3, spec.max_models or 3))
    base, *steps = (torch.randn(12, 9, generator=generator) for _ in range(count + 1))
    models = [base + step / 16 for step in steps]
    values = {n: 0.3 for n, p in spec.parameters.items() if p.default is MISSING}
    values |= OPTIONS.get(method, {})
    origin = None if spec.base == "none" else base
    merged = merge_tensors(method, models, origin, **values)
    factor = 2.0**exponent  # a power of two changes no digit of any number
    scaled = merge_tensors(
        method, [m * factor for m in models], None if origin is None else origin * factor, **values
    )
    torch.testing.assert_close(scaled / factor, merged, rtol=1e-6, atol=1e-6)
