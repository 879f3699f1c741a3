"""Caches: what may be shared is seen by looking at the cache, and sharing changes no number."""

from collections.abc import Callable

import pytest
import torch

from evomerge.inference.caches import Sharing, branch, inspect_cache, spread
from evomerge.inference.forward import Forward
from evomerge.inference.reading import read_prefix, read_rows
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]


@pytest.mark.parametrize(
    ("kind", "sharing"),
    [
        ("llama", Sharing(branches=True, spreads=True, trees=True)),
        ("bloom", Sharing(branches=True, spreads=True)),
        ("mistral", Sharing(branches=True, spreads=False)),
        ("gemma3_text", Sharing(branches=True, spreads=False)),
        ("mamba", Sharing(branches=False, spreads=False)),
    ],
)
def test_windows_forbid_shared_prefixes_and_recurrent_states_forbid_all(
    kind: str, sharing: Sharing, make: Make
) -> None:
    with torch.inference_mode():
        assert Forward(make(kind).module, 0).sharing == sharing


def test_an_unknown_cache_is_not_shared() -> None:
    class Stranger:
        layers = (object(),)

    assert inspect_cache(Stranger()) == Sharing()
    assert inspect_cache(None) == Sharing()
    assert inspect_cache(((), ())) == Sharing()


def test_rotary_embeddings_that_depend_on_length_forbid_all(make: Make) -> None:
    module = make("llama", limit=64).module
    plain = module.config.rope_parameters
    try:
        module.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
        assert Forward(module, 0).sharing == Sharing()
    finally:
        module.config.rope_parameters = plain


@torch.inference_mode()
def test_branches_leave_the_trunk_as_it_is(make: Make) -> None:
    forward = Forward(make("llama").module, 0)
    page = read_rows(forward, [(5, 6, 7), (8, 9)])
    before = [layer.keys.clone() for layer in page.cache.layers]
    twice = branch(page.cache, torch.tensor([1, 0, 1]))
    ids, mask = torch.tensor([[5], [5], [5]]), torch.ones(3, 4, dtype=torch.long)
    mask[[0, 2], 0] = 0
    logits, _ = forward(ids, keep=1, mask=mask, cache=twice)
    assert torch.equal(logits[0], logits[2])
    assert not torch.equal(logits[0], logits[1])
    for layer, keys in zip(page.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)


@torch.inference_mode()
def test_places_are_moved_right_by_their_gaps(make: Make) -> None:
    forward = Forward(make("gpt2").module, 0)
    cache = read_prefix(forward, (3, 4, 5, 6)).cache
    moved = spread(cache, torch.tensor([0, 1, 3, 9]))
    for old, new in zip(cache.layers, moved.layers, strict=True):
        assert new.keys.shape == (4, *old.keys.shape[1:])
        assert torch.equal(new.keys[0], old.keys[0])
        assert torch.equal(new.values[1][:, 1:], old.values[0][:, :3])
        assert torch.equal(new.values[2][:, 3:], old.values[0][:, :1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "gpt_neox", "bloom", "cohere", "qwen2"])
@torch.inference_mode()
def test_rows_behind_a_shared_prefix_have_the_logits_of_whole_rows(kind: str, make: Make) -> None:
    forward = Forward(make(kind).module, 0)
    prefix = (5, 6, 7, 8, 9, 10)
    rows = [(*prefix, *tail) for tail in ((11,), (4, 4, 12, 13, 5, 6, 7, 8, 9), (12, 5, 3))]
    page = read_rows(forward, rows, read_prefix(forward, prefix))
    for row, logits in zip(rows, page.logits, strict=True):
        whole = forward.module(input_ids=torch.tensor([row])).logits[0, -1]
        assert torch.allclose(logits[-1], whole, atol=1e-4)
