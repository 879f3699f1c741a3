"""A recipe whose models are recipes: the same bits as merging twice, and nothing on the disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evomerge.engine import merge
from evomerge.errors import RecipeError

MakeFamily = Callable[..., Path]
Document = dict[str, Any]


def read(folder: Path) -> dict[str, Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def inner(method: str, models: list[Path], **settings: Any) -> Document:
    entries = [{"model": str(m), "parameters": {"weight": 0.3 + i}} for i, m in enumerate(models)]
    return {"merge_method": method, "models": entries, **settings}


def outer(method: str, first: Any, second: Any, **settings: Any) -> Document:
    entries = [{"model": first}, {"model": second}]
    return {"merge_method": method, "models": entries, **settings}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("linear", {"parameters": {"weight": 0.7}}),
        ("slerp", {"parameters": {"t": [0.2, 0.9]}}),
        ("ties", {"parameters": {"weight": 0.7, "density": 0.4}}),
        ("dare_ties", {"parameters": {"weight": 0.7, "density": 0.4}}),
        ("della_linear", {"parameters": {"weight": 0.7, "density": 0.4}}),
        ("model_stock", {}),
    ],
)
@pytest.mark.parametrize("within", ["linear", "della"])
def test_nesting_has_the_bits_of_merging_twice(
    tiny_model: MakeFamily, tmp_path: Path, method: str, settings: Document, within: str
) -> None:
    base, first, second, third = (tiny_model("llama", seed) for seed in range(4))
    parameters = {"density": 0.5} if within == "della" else {}
    step = inner(
        within, [first, second], parameters=parameters, dtype="bfloat16", base_model=str(base)
    )
    step = {k: v for k, v in step.items() if v}
    document = outer(method, step, str(third), base_model=str(base), **settings)
    if method == "model_stock":
        document["models"].append({"model": str(first)})
    if method == "slerp":
        document["models"][1] = {"model": str(base)}
    folder = merge(step, tmp_path / "step")
    twice = dict(document, models=[{"model": str(folder)}, *document["models"][1:]])
    if method in ("dare_ties", "della_linear"):
        document["parameters"]["density"] = twice["parameters"]["density"] = 1.0
    nested = read(merge(document, tmp_path / "nested"))
    expected = read(merge(twice, tmp_path / "twice"))
    assert nested.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(nested[name], tensor), name


def test_a_recipe_may_be_the_base(tiny_model: MakeFamily, tmp_path: Path) -> None:
    base, first, second = (tiny_model("llama", seed) for seed in range(3))
    soup = inner("linear", [base, first])
    document = inner("task_arithmetic", [first, second], base_model=soup)
    nested = read(merge(document, tmp_path / "nested"))
    folder = merge(soup, tmp_path / "soup")
    expected = read(merge(dict(document, base_model=str(folder)), tmp_path / "twice"))
    assert all(torch.equal(nested[name], expected[name]) for name in expected)


def test_a_stack_of_merges_has_layers_of_both(tiny_model: MakeFamily, tmp_path: Path) -> None:
    first, second = tiny_model("llama", 0), tiny_model("llama", 1)
    soup = inner("linear", [first, second])
    slices = [
        {"sources": [{"model": str(first), "layer_range": [0, 2]}]},
        {"sources": [{"model": soup, "layer_range": [1, 3]}]},
    ]
    stacked = read(merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "stack"))
    own, merged = read(first), read(merge(soup, tmp_path / "soup"))
    name = "model.layers.{}.mlp.up_proj.weight"
    assert torch.equal(stacked[name.format(1)], own[name.format(1)])
    assert torch.equal(stacked[name.format(2)], merged[name.format(1)])
    assert torch.equal(stacked[name.format(3)], merged[name.format(2)])


def test_what_is_wrong_within_is_told(tiny_model: MakeFamily, tmp_path: Path) -> None:
    good, narrow = tiny_model("llama", 0), tiny_model("llama", 0, hidden_size=8)
    broken = inner("linear", [good, narrow])
    with pytest.raises(RecipeError, match=r"embed_tokens.weight is \[40, 16\] in .* but \[40, 8\]"):
        merge(outer("linear", broken, str(good), parameters={"weight": 1}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_masks_of_a_result_depend_on_what_it_is_made_of(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    base, first, second, third = (tiny_model("llama", seed) for seed in range(4))
    shared = {"base_model": str(base), "parameters": {"weight": 1.0, "density": 0.5}}
    documents = [
        outer("dare_linear", inner("linear", [first, other]), str(third), **shared)
        for other in (second, second, third)
    ]
    one, again, other = (
        read(merge(document, tmp_path / str(i)))["model.layers.0.mlp.up_proj.weight"]
        for i, document in enumerate(documents)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
