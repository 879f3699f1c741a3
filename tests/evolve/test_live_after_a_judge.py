"""A live model is what its recipe says, whatever a judge has done to the one before."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evomerge.evolve.live import LiveModel
from evomerge.recipe import parse_recipe


def refuse(*_: Any) -> None:
    raise RuntimeError("this hook should be gone")


def overwrite(module: Any) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7.0)


def replace_norm(module: Any) -> None:
    module.model.norm = torch.nn.Identity()


def drop_layer(module: Any) -> None:
    del module.model.layers[0]


def override(module: Any) -> None:
    module.forward = refuse


def turn(module: Any) -> None:
    module.model.rotary_emb.inv_freq.data.mul_(3.0)


DAMAGES: list[Callable[[Any], Any]] = [
    overwrite,
    turn,
    replace_norm,
    drop_layer,
    override,
    lambda module: module.register_forward_hook(refuse),
    lambda module: module.model.layers[0].register_forward_pre_hook(refuse),
    lambda module: module.half(),
    lambda module: module.to("meta"),
    lambda module: module.compile(),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_judge_leaves_in_a_model_is_not_in_the_next(damage: Callable[[Any], Any]) -> None:
    live = LiveModel("cpu", "float32")

    def ask(weight: float) -> Any:
        models = [{"model": "zoo:sort", "parameters": {"weight": weight}}, {"model": "zoo:base"}]
        text = {"merge_method": "linear", "models": models, "parameters": {"weight": 1.0}}
        module = live.realise(parse_recipe(text)[0]).module
        with torch.inference_mode():
            return module, module(torch.tensor([[1, 5, 7, 9]])).logits.clone()

    _, wanted = ask(0.7)
    module, _ = ask(0.2)
    damage(module)
    _, found = ask(0.7)
    assert torch.equal(found, wanted)


def test_a_model_that_nobody_touched_is_kept() -> None:
    live = LiveModel("cpu", "float32")
    recipe = parse_recipe({"merge_method": "passthrough", "models": [{"model": "zoo:sort"}]})[0]
    first = live.realise(recipe)
    first.generate(["ab"], max_new_tokens=2)
    assert live.realise(recipe) is first
