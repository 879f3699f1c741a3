"""Copies with exchanged parts: the weights are the same, the original does not notice."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from evomerge.errors import EvaluationError
from evomerge.inference.rewiring import find_layers, renumber, resize, rewire, share
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("llama", ("model", "layers")),
        ("gpt_neox", ("gpt_neox", "layers")),
        ("gpt2", ("transformer", "h")),
    ],
)
def test_layers_are_found_where_a_family_has_them(
    kind: str, place: tuple[str, ...], make: Make
) -> None:
    assert find_layers(make(kind).module) == place


def test_a_model_without_a_list_of_layers_is_named(make: Make) -> None:
    module = deepcopy(make("llama").module)
    module.config.num_hidden_layers = 3
    with pytest.raises(EvaluationError, match="LlamaForCausalLM has no list of its 3 layers, so"):
        find_layers(module)


def test_a_rewired_copy_leaves_the_original_as_it_was(make: Make) -> None:
    module = make("llama").module
    before = dict(module.named_modules())
    layer = module.model.layers[1]
    config = resize(module.config, ["", "", ""])
    made = rewire(module, ("model", "layers"), [layer] * 3, config)
    assert list(made.model.layers) == [layer] * 3
    assert made.config.num_hidden_layers == made.model.config.num_hidden_layers == 3
    assert made.model.embed_tokens is module.model.embed_tokens
    assert dict(module.named_modules()) == before
    assert module.config.num_hidden_layers == 2


@torch.inference_mode()
def test_a_hook_on_a_copy_is_not_one_on_the_original(make: Make) -> None:
    module = make("llama").module
    calls: list[str] = []
    ids = torch.tensor([[3, 4]])
    mine = share(module)
    mine.register_forward_hook(lambda *_: calls.append("copy"))
    module(input_ids=ids)
    assert calls == []
    mine(input_ids=ids)
    assert calls == ["copy"]


def test_a_renumbered_layer_shares_its_weights_and_what_needs_no_number(make: Make) -> None:
    layer = make("llama").module.model.layers[1]
    made = renumber(layer)
    assert made.self_attn.layer_idx == 0
    assert layer.self_attn.layer_idx == 1
    assert made.mlp is layer.mlp
    assert made.self_attn.q_proj is layer.self_attn.q_proj


def test_types_of_layers_are_kept_where_a_configuration_has_them(make: Make) -> None:
    config = make("gemma3_text").module.config
    assert resize(config, ["sliding_attention", "", ""]).layer_types == [
        "sliding_attention", "full_attention", "full_attention"
    ]  # fmt: skip
    assert len(config.layer_types) == 2
