"""Sharing is tried before it is trusted: a model that counts in its own way gets plain passes."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from evomerge.inference.caches import Sharing
from evomerge.inference.forward import Forward
from evomerge.inference.proof import make_requests, prove_padding, prove_sharing
from evomerge.inference.scoring import score_tokens
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]
LIMIT = 96
ALL = Sharing(branches=True, spreads=True, trees=True)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "gpt_neox", "cohere", "qwen2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.inference_mode()
def test_ordinary_models_share_all(kind: str, attention: str, make: Make) -> None:
    forward = Forward(make(kind, attention=attention, limit=LIMIT).module, 0)
    assert prove_sharing(forward, LIMIT)
    assert forward.sharing == ALL


@pytest.mark.parametrize(
    "less", [Sharing(), Sharing(branches=True), Sharing(branches=True, spreads=True), ALL]
)
@torch.inference_mode()
def test_whatever_is_shared_the_scores_are_the_same(less: Sharing, make: Make) -> None:
    forward = Forward(make("llama", limit=LIMIT).module, 0)
    requests = make_requests(24, LIMIT)
    everything = score_tokens(forward, requests)
    forward.sharing = less
    for a, b in zip(score_tokens(forward, requests), everything, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)
        assert a.greedy == b.greedy


class Shifted(torch.nn.Module):
    """A model that counts positions from 5 unless it is told them, as some families do from 2."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.inner, self.config = module, module.config
        self._supports_attention_backend = True

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def forward(
        self, input_ids: Any, position_ids: Any = None, past_key_values: Any = None, **more: Any
    ) -> Any:
        if position_ids is None and past_key_values is None:
            position_ids = torch.arange(5, 5 + input_ids.shape[1]).expand(len(input_ids), -1)
        return self.inner(
            input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values, **more
        )


@torch.inference_mode()
def test_a_model_with_positions_of_its_own_gets_plain_passes(make: Make) -> None:
    plain = make("gpt2", limit=LIMIT)
    odd = Shifted(plain.module)
    forward = Forward(odd, 0)
    assert forward.sharing == ALL, "its cache looks ordinary"
    assert prove_sharing(forward, LIMIT - 5)
    assert forward.sharing == Sharing()
    model = TransformersModel(odd, plain.tokenizer)
    row = [*range(3, 20), *range(3, 10)]
    shifted = odd(input_ids=torch.tensor([row[:-1]])).logits[0].double().log_softmax(-1)
    expected = sum(float(shifted[k - 1, row[k]]) for k in range(20, 24))
    requests = [(row[:20], row[20:]), (row[:20], [5, 6]), (row[:20], [7])]
    assert model.score_tokens(requests)[0].log_likelihood == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_broken_weights_prove_nothing_and_the_next_weights_do(make: Make) -> None:
    module = make("opt", limit=64).module
    forward, weight = Forward(module, 0), module.get_output_embeddings().weight
    kept = weight.detach().clone()
    try:
        weight.data.fill_(float("nan"))
        assert not prove_sharing(forward, 64)
        assert forward.sharing == ALL
    finally:
        weight.data.copy_(kept)
    assert prove_sharing(forward, 64)


@pytest.mark.parametrize(
    ("kind", "alone"), [("llama", False), ("mamba", False), ("rwkv", True), ("phi3", False)]
)
@torch.inference_mode()
def test_batches_are_given_up_where_padding_is_read(kind: str, alone: bool, make: Make) -> None:
    forward = Forward(make(kind, limit=LIMIT).module, 0)
    assert prove_sharing(forward, LIMIT)
    assert prove_padding(forward)
    assert forward.alone == alone


@torch.inference_mode()
def test_broken_weights_do_not_tell_whether_padding_is_read(make: Make) -> None:
    module = deepcopy(make("rwkv").module)
    module.get_output_embeddings().weight.data.fill_(float("nan"))
    forward = Forward(module, 0)
    assert not prove_padding(forward)
    assert not forward.alone


def test_the_trial_fits_into_any_context() -> None:
    for limit in (5, 16, 48, 4096):
        for context, tail in make_requests(1000, limit):
            assert context
            assert len(context) + len(tail) <= limit + 1
