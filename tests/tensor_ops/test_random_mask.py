"""Random masks are functions of (seed, model, tensor, index) and of nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.random_mask import keep_mask

KEY = (0, "model", "tensor")

# Planes of Philox 4x64-10 as numpy 2 computes it, keyed with the first 16 bytes of
# sha256(repr(key)): locked because a stored run is resumed with the same masks.
FIRST_64 = "0111011001110111110110010101010110000110001011101001000100001100"
LATER_64 = "0100010110000110000000100000001010001000010000100000011010000000"


def as_text(mask: torch.Tensor) -> str:
    return "".join("01"[int(bit)] for bit in mask)


def test_masks_of_stored_runs_never_change() -> None:
    assert as_text(keep_mask(KEY, 0, 64, 0.5)) == FIRST_64
    assert as_text(keep_mask((7, "a", "b"), 800, 64, 0.25)) == LATER_64


@settings(deadline=None, max_examples=80)
@given(
    start=st.integers(0, 400),
    length=st.integers(0, 200),
    density=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**40),
)
def test_a_part_of_a_mask_is_the_mask_of_that_part(
    start: int, length: int, density: float, seed: int
) -> None:
    key = (seed, "some model", "layers.0.weight")
    whole = keep_mask(key, 0, 600, density)
    assert torch.equal(keep_mask(key, start, length, density), whole[start : start + length])


@pytest.mark.parametrize("density", [1e-4, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_density_is_honoured(density: float) -> None:
    size = 400_000
    kept = int(keep_mask(KEY, 0, size, density).sum())
    deviation = (size * density * (1 - density)) ** 0.5
    assert abs(kept - size * density) < 4 * deviation


def test_density_one_keeps_everything_and_almost_one_almost_everything() -> None:
    assert keep_mask(KEY, 0, 1000, 1.0).all()
    assert keep_mask(KEY, 0, 1000, 1.0 - 2.0**-53).all()
    assert not keep_mask(KEY, 0, 1000, 2.0**-40).any()


@pytest.mark.parametrize("other", [(1, "model", "tensor"), (0, "x", "tensor"), (0, "model", "x")])
def test_each_part_of_the_key_gives_an_unrelated_mask(other: tuple[int, str, str]) -> None:
    agree = (keep_mask(KEY, 0, 10_000, 0.5) == keep_mask(other, 0, 10_000, 0.5)).float().mean()
    assert abs(float(agree) - 0.5) < 0.02


def test_a_denser_mask_contains_the_sparser_one() -> None:
    sparse, dense = (keep_mask(KEY, 0, 5000, density) for density in (0.3, 0.6))
    assert not (sparse & ~dense).any()


def test_each_element_may_have_a_density_of_its_own() -> None:
    densities = torch.linspace(-0.1, 1.1, 5000)
    mask = keep_mask(KEY, 0, 5000, densities)
    assert not mask[densities <= 0].any()
    assert mask[densities >= 1].all()
    for place in range(0, 5000, 250):
        density = float(densities[place].clamp(0, 1))
        assert mask[place] == keep_mask(KEY, place, 1, density)[0]


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 900), length=st.integers(0, 90))
def test_own_densities_do_not_depend_on_where_a_block_starts(start: int, length: int) -> None:
    densities = torch.rand(1000, generator=torch.Generator().manual_seed(1))
    whole, part = keep_mask(KEY, 0, 1000, densities), slice(start, start + length)
    assert torch.equal(keep_mask(KEY, start, length, densities[part]), whole[part])


def test_density_zero_keeps_nothing() -> None:
    assert not keep_mask(KEY, 0, 1000, 0.0).any()


def test_global_generators_are_neither_read_nor_written() -> None:
    before = torch.random.get_rng_state()
    first = keep_mask(KEY, 0, 64, 0.5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(keep_mask(KEY, 0, 64, 0.5), first)
