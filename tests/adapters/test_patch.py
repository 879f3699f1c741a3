"""A patch gives the same bits however its rows are split, for LoRA and DoRA."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evomerge.adapters.patch import TILE, Factors, Patch


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make(rows: int, columns: int, rank: int, *, dora: bool, whole: bool = False) -> Patch:
    lengths = (columns if whole else rows) if dora else 0
    magnitude = random(3, lengths).abs().double() if dora else None
    factors = Factors(random(1, rows, rank), random(2, rank, columns), magnitude)
    return Patch(lambda: factors, whole)


def blocks(rows: int, cuts: list[int]) -> Iterator[tuple[int, int]]:
    places = sorted({0, rows, *(cut % rows for cut in cuts)})
    yield from pairwise(places)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 3 * TILE + 5),
    columns=st.integers(1, 70),
    rank=st.integers(1, 9),
    dora=st.booleans(),
    cuts=st.lists(st.integers(0, 100), max_size=5),
)
def test_rows_in_blocks_have_the_bits_of_all_at_once(
    rows: int, columns: int, rank: int, dora: bool, cuts: list[int]
) -> None:
    patch, weight = make(rows, columns, rank, dora=dora), random(4, rows, columns)
    whole = patch.apply(weight.clone())
    parts = [patch.apply(weight[a:b].clone(), a) for a, b in blocks(rows, cuts)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("shape", [(97, 1024), (64, 4096), (33, 777)])
@pytest.mark.parametrize("dora", [False, True])
def test_bits_do_not_depend_on_threads(shape: tuple[int, int], dora: bool) -> None:
    patch, weight = make(*shape, rank=32, dora=dora), random(4, *shape)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(patch.apply(weight.clone()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dora", [False, True])
def test_formula_is_the_papers(dora: bool, whole: bool) -> None:
    patch, weight = make(40, 24, 3, dora=dora, whole=whole), random(4, 40, 24)
    factors = patch.load()
    expected = weight.double() + factors.left.double() @ factors.right.double()
    if factors.magnitude is not None:
        direction = expected / expected.norm(dim=0 if whole else 1, keepdim=True)
        lengths = factors.magnitude if whole else factors.magnitude.unsqueeze(1)
        expected = lengths * direction
    adapted = patch.apply(weight)
    assert adapted is weight, "it is changed in place"
    torch.testing.assert_close(adapted.double(), expected, rtol=1e-5, atol=1e-6)
