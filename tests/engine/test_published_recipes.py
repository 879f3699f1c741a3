"""Recipes as people publish them, run as they stand, with their names pointed at tiny models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evomerge.engine import merge
from evomerge.recipe import load_recipe

MakeFamily = Callable[..., Path]
EXAMPLES = Path(__file__).parents[1] / "recipe" / "examples"
LAYERS = {"slerp": 32, "ties": 2, "dare-ties": 2, "passthrough": 32, "task-arithmetic": 32}
EXPECTED = {"slerp": 32, "ties": 2, "dare-ties": 2, "passthrough": 40, "task-arithmetic": 32}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_published_recipe_makes_a_model_that_loads(
    tiny_model: MakeFamily, tmp_path: Path, name: str
) -> None:
    from transformers import AutoModelForCausalLM

    text = (EXAMPLES / f"published-{name}.yaml").read_text()
    kind = "llama" if "llama" in text.lower() else "mistral"
    shape: dict[str, Any] = {"num_hidden_layers": LAYERS[name]}
    for seed, model in enumerate(sorted(load_recipe(EXAMPLES / f"published-{name}.yaml").models)):
        text = text.replace(model + "\n", f"{tiny_model(kind, seed, **shape)}\n")
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    out = merge(file, tmp_path / "out")
    model, told = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(told.values())
    assert model.config.num_hidden_layers == EXPECTED[name]
    stated = yaml.safe_load(text)["dtype"]
    assert str(model.dtype) == f"torch.{stated}"
