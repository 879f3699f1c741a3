"""Walking tensors in blocks: every element once, in order, in buffers that are reused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.blocks import BLOCK, Granularity, Scratch, gather
from evomerge.tensor_ops.philox import PER_COUNTER
from evomerge.tensor_ops.reductions import ROW


@settings(deadline=None, max_examples=60)
@given(size=st.integers(0, 50), block=st.integers(1, 60), models=st.integers(1, 3))
def test_a_walk_meets_every_element_once_in_order(size: int, block: int, models: int) -> None:
    tensors = [torch.arange(size, dtype=torch.float64) + 1000 * k for k in range(models)]
    operands = gather(tensors, tensors[0], scratch=Scratch(block))
    pieces = [[m.clone() for m in (*b.models, b.base)] for b in operands.walk()]
    for k, tensor in enumerate((*tensors, tensors[0])):
        met = torch.cat([piece[k] for piece in pieces]) if pieces else torch.empty(0)
        assert torch.equal(met, tensor.float())


def test_buffers_are_touched_once_and_reused() -> None:
    operands = gather([torch.ones(40)], torch.ones(40), scratch=Scratch(16))
    places = [
        (b.models[0].data_ptr(), b.base.data_ptr(), b.spare.data_ptr()) for b in operands.walk()
    ]
    assert len(places) == 3
    assert len(set(places)) == 1
    assert len(set(places[0])) == 3


def test_a_transposed_tensor_is_read_in_its_own_order() -> None:
    matrix = torch.arange(6.0).view(2, 3)
    (block,) = gather([matrix.T]).walk()
    assert block.models[0].tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_floating_dtype_is_read_as_float32(dtype: torch.dtype) -> None:
    tensor = torch.randn(20, generator=torch.Generator().manual_seed(0)).to(dtype)
    (block,) = gather([tensor]).walk()
    assert block.models[0].dtype == torch.float32
    assert torch.equal(block.models[0], tensor.float())


def test_deltas_are_the_models_minus_the_base() -> None:
    (block,) = gather([torch.tensor([3.0]), torch.tensor([5.0])], torch.tensor([2.0])).walk()
    assert [delta.item() for delta in block.deltas()] == [1.0, 3.0]


def test_a_method_without_a_base_cannot_ask_for_one() -> None:
    (block,) = gather([torch.ones(1)]).walk()
    with pytest.raises(AssertionError, match="declares base='required'"):
        block.deltas()


def test_one_model_keeps_its_key_out_of_the_walk_of_another() -> None:
    operands = gather([torch.ones(1), torch.zeros(1)], keys=("a", "b"), name="w", seed=3)
    assert [operands.mask_key(k) for k in range(2)] == [(3, "a", "w"), (3, "b", "w")]
    (block,) = operands.only(1).walk()
    assert [model.item() for model in block.models] == [0.0]


def test_blocks_hold_whole_rows_and_whole_counters() -> None:
    assert BLOCK % ROW == BLOCK % PER_COUNTER == 0


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 600), width=st.integers(1, 40), block=st.integers(1, 4000))
def test_blocks_of_rows_hold_whole_rows_and_begin_where_sums_do(
    rows: int, width: int, block: int
) -> None:
    matrix = torch.arange(rows * width, dtype=torch.float32).view(rows, width)
    operands = gather([matrix], scratch=Scratch(block), granularity="rows")
    met = [(b.start, b.models[0].view(-1, width).clone()) for b in operands.walk()]
    assert torch.equal(torch.cat([piece for _, piece in met]), matrix)
    assert all(start % ROW == 0 for start, _ in met)
    assert all(piece.numel() <= max(block, math.lcm(width, ROW)) for _, piece in met)


@pytest.mark.parametrize("granularity", ["rows", "tensor"])
@pytest.mark.parametrize("shape", [(), (1,), (17,), (0,), (0, 5), (5, 0)])
def test_vectors_and_single_numbers_are_one_block(
    shape: tuple[int, ...], granularity: Granularity
) -> None:
    operands = gather([torch.ones(shape)], scratch=Scratch(4), granularity=granularity)
    assert [len(b.models[0]) for b in operands.walk()] == ([operands.numel] * (operands.numel > 0))


def test_a_method_of_whole_tensors_gets_them_whole() -> None:
    operands = gather([torch.ones(30, 7)], scratch=Scratch(4), granularity="tensor")
    assert list(operands.extents()) == [(0, 210)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_views_keep_the_dtype(dtype: torch.dtype) -> None:
    tensor = torch.arange(5.0).to(dtype)
    views = list(gather([tensor], tensor, scratch=Scratch(2)).views())
    assert [view.start for view in views] == [0, 2, 4]
    assert torch.equal(torch.cat([view.models[0] for view in views]), tensor)
    assert all(view.base is not None and view.base.dtype == dtype for view in views)
