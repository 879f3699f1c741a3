"""Rows of continuations: each token sees its context and what stands before it in its own one."""

import torch

from evomerge.inference.trees import mask_side_by_side


def test_continuations_see_their_context_and_themselves_only() -> None:
    context = torch.tensor([[0, 1, 1], [1, 1, 1]])
    mask, positions = mask_side_by_side(context, [[2, 1], [1]], torch.float32)
    assert mask.shape == (2, 1, 3, 6)
    sees = (mask[:, 0] == 0).int().tolist()
    assert sees[0] == [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 1]]
    assert sees[1][0] == [1, 1, 1, 1, 0, 0]
    assert positions.tolist() == [[2, 3, 2], [3, 3, 3]]
    assert mask.min() == torch.finfo(torch.float32).min
