"""A model taken apart: what it does around its layers is what it does as a whole."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from evomerge.errors import EvaluationError
from evomerge.inference import layer_host
from evomerge.inference.layer_host import LayerHost, Step
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]
IDS = torch.tensor([[3, 9, 4, 12, 5, 6, 7, 8], [20, 21, 3, 3, 8, 9, 10, 11]])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
@torch.inference_mode()
def test_what_enters_the_first_layer_is_what_the_model_lets_in(kind: str, make: Make) -> None:
    module = make(kind).module
    host = LayerHost(module)
    opening = host.open(IDS, embed=True)
    states = module(input_ids=IDS, output_hidden_states=True, use_cache=False).hidden_states
    assert torch.equal(opening.hidden, states[0])
    after = host.run(Step("A", 0), opening.hidden, opening.calls, None)
    assert torch.equal(after, states[1])


@torch.inference_mode()
def test_windows_are_handed_to_the_layers_that_have_them(make: Make) -> None:
    host = LayerHost(make("gemma3_text").module)
    assert host.names == ["sliding_attention", "full_attention"]
    sliding, full = host.open(IDS, embed=True).calls
    seen = sliding.keywords["attention_mask"]
    assert seen is not None
    assert not seen[0, 0, 7, 0]
    assert full.keywords["attention_mask"] is None, "a plain causal mask needs no tensor"


@torch.inference_mode()
def test_tokens_of_another_vocabulary_are_not_looked_up(make: Make) -> None:
    host = LayerHost(make("gpt2").module)
    ids = torch.full((2, 3), 999)
    assert host.open(ids, embed=False).hidden.eq(0).all()
    with pytest.raises(IndexError, match="index out of range"):
        host.open(ids, embed=True)


@torch.inference_mode()
def test_an_outline_knows_lengths_at_the_cost_of_a_number_per_token(make: Make) -> None:
    host = LayerHost(make("gemma3_text").module)
    outline = host.outline()
    host.open(IDS, embed=True, cache=outline)
    host.open(IDS[:, :1], embed=True, cache=outline)
    assert [layer.get_seq_length() for layer in outline.layers] == [9, 9]
    assert [tuple(layer.keys.shape) for layer in outline.layers] == [(2, 1, 5, 1), (2, 1, 9, 1)]
    assert host.outline().get_seq_length() == 0


@torch.inference_mode()
def test_the_head_reads_given_states_with_the_loss_of_the_model(make: Make) -> None:
    module = make("gemma2").module
    host = LayerHost(module)
    hidden, calls = host.open(IDS, embed=True)
    for layer in range(2):
        hidden = host.run(Step("A", layer), hidden, calls, None)
    expected = module(input_ids=IDS, labels=IDS, use_cache=False)
    found = host.close(hidden, IDS)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.loss, expected.loss)


@torch.inference_mode()
def test_scaling_the_last_addition_of_an_unknown_layer_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_host, "TAILS", ())
    host = LayerHost(make("llama").module)
    hidden, calls = host.open(IDS, embed=True)
    host.run(Step("A", 0, before=2.0), hidden, calls, None)
    with pytest.raises(EvaluationError, match=r"LlamaDecoderLayer: no part .* Use input_scale_t"):
        host.run(Step("A", 0, after=2.0), hidden, calls, None)


@torch.inference_mode()
def test_what_a_norm_of_an_unknown_name_follows_is_not_taken_for_the_last_addition(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_host, "TAILS", ("mlp",))
    for dtype in (torch.float32, torch.bfloat16):
        host = LayerHost(deepcopy(make("gemma2").module).to(dtype))
        hidden, calls = host.open(IDS, embed=True)
        with pytest.raises(EvaluationError, match=r"Gemma2DecoderLayer: no part .* Use input_scal"):
            host.run(Step("A", 0, after=2.0), hidden, calls, None)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "glm4", "gpt_neox", "opt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_the_last_addition_is_known_however_coarse_the_numbers(
    kind: str, dtype: torch.dtype, make: Make
) -> None:
    host = LayerHost(deepcopy(make(kind).module).to(dtype))
    hidden, calls = host.open(IDS, embed=True)
    none, once, twice = (
        host.run(Step("A", 0, after=k), hidden, calls, None).double() for k in (0.0, 1.0, 2.0)
    )
    assert (once - none).abs().max() > 0.1
    room = 0.05 if dtype == torch.bfloat16 else 1e-5
    assert torch.allclose(twice - once, once - none, rtol=0, atol=room * float(twice.abs().max()))


def test_broken_weights_are_no_reason_to_refuse(make: Make) -> None:
    module = deepcopy(make("llama").module)
    module.model.layers[0].mlp.down_proj.weight.data.fill_(float("nan"))
    assert LayerHost(module).names == [""]
