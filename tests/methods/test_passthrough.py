"""Passthrough: scale first, then shift, in float32, rounded once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.methods import merge_tensors

NUMBER = st.floats(-100, 100, width=32)


@settings(deadline=None, max_examples=60)
@given(st.lists(NUMBER, min_size=1, max_size=9), st.none() | NUMBER, st.none() | NUMBER)
def test_the_tensor_is_scaled_and_then_shifted(
    values: list[float], scale: float | None, shift: float | None
) -> None:
    tensor = torch.tensor(values)
    found = merge_tensors("passthrough", [tensor], scale=scale, shift=shift)
    factor, offset = 1.0 if scale is None else scale, shift or 0.0
    expected = tensor.double() * factor + offset
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    if scale is None and shift is None:
        assert torch.equal(found, tensor)


def test_a_gain_that_multiplies_by_one_more_than_its_weight_is_scaled_by_both() -> None:
    weight = torch.tensor([-0.5, 0.0, 0.25])
    found = merge_tensors("passthrough", [weight], scale=0.5, shift=0.5 - 1.0)
    torch.testing.assert_close(1.0 + found, 0.5 * (1.0 + weight))


def test_large_tensors_are_shifted_in_every_block() -> None:
    tensor = torch.arange(1_200_000, dtype=torch.float32)
    assert torch.equal(merge_tensors("passthrough", [tensor], shift=-1.0), tensor - 1.0)


def test_a_shift_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="shift must be in"):
        merge_tensors("passthrough", [torch.ones(2)], shift=float("nan"))
