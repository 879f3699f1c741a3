"""A folder is loaded as it stands, with the tokenizer beside it."""

import torch

from evomerge.checkpoints.locate import locate
from evomerge.evolve.live import LiveModel, load_folder
from evomerge.recipe import parse_recipe


def test_folder_is_the_model_that_passes_it_through() -> None:
    recipe = parse_recipe({"merge_method": "passthrough", "models": [{"model": "zoo:sort"}]})[0]
    written, live = load_folder(locate("zoo:sort"), "cpu", "float32"), LiveModel("cpu", "float32")
    tokens = torch.tensor([[1, 5, 7, 9]])
    with torch.inference_mode():
        found = [model.module(tokens).logits for model in (written, live.realise(recipe))]
    assert torch.equal(*found)
    assert written.generate(["dcba>"], max_new_tokens=4)[0]
