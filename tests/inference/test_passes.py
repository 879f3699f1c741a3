"""Plans: passes one after the other give what rows read at once give."""

from collections.abc import Callable
from functools import partial

import torch

from evomerge.inference.caches import branch
from evomerge.inference.passes import Pass, Wanted, follow
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]
CONTEXT, TAILS = [3, 4, 5, 6], [[7, 8], [9, 10]]


@torch.inference_mode()
def test_a_pass_sees_the_one_before_and_not_the_one_beside(make: Make) -> None:
    model = make("llama")
    forward = model.prove()
    ones = torch.ones(1, 6, dtype=torch.long)
    wanted = [Wanted(0, 0, 0, (1,))]

    def continue_with(tail: list[int]) -> Pass:
        rows = partial(branch, rows=torch.tensor([0]))
        return Pass(torch.tensor([tail]), 2, wanted, ones, arrange=rows)

    first = Pass(torch.tensor([CONTEXT]), after=map(continue_with, TAILS))
    found = list(follow(forward, first))
    assert len(found) == 2, "the first says nothing that is wanted"
    for (logits, told), tail in zip(found, TAILS, strict=True):
        whole = model.module(input_ids=torch.tensor([CONTEXT + tail])).logits
        torch.testing.assert_close(logits, whole[:, -2:])
        assert told is wanted
