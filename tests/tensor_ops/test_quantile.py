"""Exact-k trimming against a sort: the k largest magnitudes survive, equals in index order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from evomerge.tensor_ops.quantile import ALL, MagnitudeCut, find_largest, find_magnitude_cuts

FEW_VALUES = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 1.0000001, 0.5, -0.5, 2.0**-149, -(2.0**127), 2.0]
)
ANY_FLOAT = st.floats(width=32, allow_nan=False)
TENSORS = st.lists(FEW_VALUES | ANY_FLOAT, min_size=1, max_size=60)


def trim(values: Tensor, keep: int, block: int) -> tuple[Tensor, MagnitudeCut]:
    (cut,) = find_magnitude_cuts(values.split(block), [keep])
    pieces = [p * cut.keeps(p, i * block) for i, p in enumerate(values.split(block))]
    return torch.cat(pieces), cut


def keep_by_sorting(values: NDArray[np.float32], keep: int) -> NDArray[np.bool_]:
    order = np.argsort(-np.abs(values), kind="stable")  # stable: equals stay in index order
    mask = np.zeros(len(values), dtype=bool)
    mask[order[:keep]] = True
    return mask


@settings(deadline=None, max_examples=150)
@given(raw=TENSORS, share=st.floats(0, 1), block=st.integers(1, 70))
def test_trimming_keeps_what_a_stable_sort_keeps(
    raw: list[float], share: float, block: int
) -> None:
    values = np.array(raw, dtype=np.float32)
    keep = max(1, int(share * len(values)))
    trimmed, cut = trim(torch.from_numpy(values), keep, block)
    expected = keep_by_sorting(values, keep)
    finite = np.isfinite(values)  # an infinity times False is NaN, and the engine refuses it
    wanted = np.where(expected, values, np.float32(0))
    assert np.array_equal(trimmed.numpy()[finite], wanted[finite])
    assert np.abs(values[expected]).min() == cut.threshold


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 9999), keep=st.integers(1, 500))
def test_exactly_k_of_distinct_values_survive(seed: int, keep: int) -> None:
    values = torch.randn(500, generator=torch.Generator().manual_seed(seed)).add_(0.001)
    trimmed, cut = trim(values, keep, 64)
    assert int(trimmed.count_nonzero()) == len(values[values.abs() >= cut.threshold]) == keep


@pytest.mark.parametrize("keep", [1, 3, 7, 8])
@pytest.mark.parametrize("value", [1.5, -1.5, 2.0**-149])
def test_of_all_equal_values_the_first_k_survive(value: float, keep: int) -> None:
    trimmed, cut = trim(torch.full((8,), value), keep, 3)
    assert trimmed.tolist() == [value] * keep + [0.0] * (8 - keep)
    assert cut.last_equal == (keep - 1 if keep < 8 else ALL)


def test_a_tensor_of_zeros_of_both_signs_stays_zero() -> None:
    trimmed, cut = trim(torch.tensor([0.0, -0.0, 0.0, -0.0]), 2, 2)
    assert cut == MagnitudeCut(0.0, 1)
    assert not trimmed.any()


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_numbers_do_not_stop_the_walk(odd: float, keep: int) -> None:
    values = torch.tensor([1.0, odd, 2.0, odd, 0.5])
    trimmed, _ = trim(values, keep, 2)
    assert not torch.isfinite(trimmed[1])  # the engine finds it and says which tensor it is in
    assert trimmed[0] == 0.0


def test_threads_do_not_change_the_cut() -> None:
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(3))
    threads = torch.get_num_threads()
    try:
        cuts = []
        for count in (1, 2):
            torch.set_num_threads(count)
            cuts.append(find_magnitude_cuts(values.split(1 << 16), [77_777, 5]))
    finally:
        torch.set_num_threads(threads)
    assert cuts[0] == cuts[1]


@settings(deadline=None, max_examples=60)
@given(raw=TENSORS, shares=st.lists(st.floats(0, 1), min_size=2, max_size=3))
def test_several_cuts_are_those_found_one_by_one(raw: list[float], shares: list[float]) -> None:
    values = torch.tensor(raw)
    keeps = [max(1, int(share * len(raw))) for share in shares]
    together = find_magnitude_cuts(values.split(7), keeps)
    assert together == [find_magnitude_cuts(values.split(7), [keep])[0] for keep in keeps]


@settings(deadline=None, max_examples=80)
@given(raw=TENSORS, shares=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_magnitudes_of_any_rank_are_those_of_a_sort(raw: list[float], shares: list[float]) -> None:
    values = np.array(raw, dtype=np.float32)
    ranks = [1 + int(share * (len(raw) - 1)) for share in shares]
    descending = np.sort(np.abs(values))[::-1]
    found = find_largest(torch.from_numpy(values).split(7), ranks)
    assert found == [float(descending[rank - 1]) for rank in ranks]
