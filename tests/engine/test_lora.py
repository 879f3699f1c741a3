"""Adapters as parents, and adapters as results; peft is the oracle."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evomerge.engine import Models, Resident, make_plan, merge
from evomerge.errors import CheckpointError, RecipeError
from evomerge.recipe import parse_recipe

MakeFamily = Callable[..., Path]
TARGETS = ["q_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tiny_model: MakeFamily) -> Path:
    return tiny_model("llama", 0, dtype="float32")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [make_adapter(base, tmp_path_factory.mktemp("lora"), seed, 2 + seed) for seed in (0, 1)]


def make_adapter(base: Path, folder: Path, seed: int, rank: int, **settings: Any) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", r=rank, target_modules=TARGETS, **settings)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
    return folder


def fold(base: Path, adapter: Path) -> dict[str, Tensor]:
    """Return what peft makes of a model and an adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
        return dict(model.merge_and_unload().state_dict())


def read(folder: Path) -> dict[str, Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def document(method: str, models: list[str], **settings: Any) -> dict[str, Any]:
    return {"merge_method": method, "models": [{"model": m} for m in models], **settings}


def test_an_adapter_is_a_parent_like_any_other(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    models = [f"{base}+{adapter}" for adapter in adapters]
    recipe = document("linear", models, parameters={"weight": 0.5})
    merged = read(merge(recipe, tmp_path / "out"))
    first, second = (fold(base, adapter) for adapter in adapters)
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, (first[name] + second[name]) / 2, rtol=0, atol=1e-6)


def test_adapters_of_one_base_are_merged_as_task_vectors(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    models = [f"{base}+{adapter}" for adapter in adapters]
    settings = {"base_model": str(base), "parameters": {"weight": 1.0, "density": 0.5}}
    recipe = document("dare_ties", models, **settings)
    streamed = read(merge(recipe, tmp_path / "out"))
    live = load_live(base)
    models_open = Models()
    Resident(live, models_open).write(make_plan(parse_recipe(recipe)[0], models_open))
    state = live.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in streamed.items())
    other = read(merge(dict(recipe, models=recipe["models"][::-1]), tmp_path / "other"))
    untouched = "model.layers.0.self_attn.k_proj.weight"
    assert torch.equal(other[untouched], read(base)[untouched])


def load_live(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base)


@pytest.mark.parametrize("rank", [None, 16])
def test_a_weighted_sum_in_adapter_space_is_that_of_the_models(
    base: Path, adapters: list[Path], tmp_path: Path, rank: int | None
) -> None:
    entries = [
        {"model": f"{base}+{adapters[0]}", "parameters": {"weight": 0.7}},
        {"model": str(adapters[1]), "parameters": {"weight": -0.4}},
    ]
    recipe = {"merge_method": "task_arithmetic", "base_model": str(base), "models": entries}
    extra = {"lora_rank": rank} if rank else {}
    folder = merge({**recipe, "output": "lora", **extra}, tmp_path / "lora")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {
        f.name for f in folder.iterdir()
    }
    merged = fold(base, folder)
    plain, first, second = read(base), *(fold(base, adapter) for adapter in adapters)
    for name, tensor in plain.items():
        expected = tensor + 0.7 * (first[name] - tensor) - 0.4 * (second[name] - tensor)
        torch.testing.assert_close(merged[name], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("ties", {"density": 0.6, "weight": 0.8}),
        ("dare_linear", {"density": 0.6, "weight": [0.2, 0.8]}),
        ("linear", {"weight": [{"filter": "q_proj", "value": 1.0}, {"value": 0.5}]}),
    ],
)
def test_other_methods_merge_each_modules_change(
    base: Path, adapters: list[Path], tmp_path: Path, method: str, parameters: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"parameters": parameters, "output": "lora"}
    if method != "linear":
        settings["base_model"] = str(base)
    recipe = document(method, [str(a) for a in adapters], **settings)
    merged = fold(base, merge(recipe, tmp_path / "lora"))
    again = fold(base, merge(recipe, tmp_path / "again"))
    plain = read(base)
    changed = [name for name in plain if not torch.equal(merged[name], plain[name])]
    assert changed
    assert all(any(target in name for target in TARGETS) for name in changed)
    assert all(torch.equal(merged[name], again[name]) for name in plain)


@pytest.mark.parametrize(("rank", "told"), [({}, False), ({"lora_rank": 1}, True)])
def test_only_a_rank_that_costs_something_is_told(
    adapters: list[Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rank: dict[str, int],
    told: bool,
) -> None:
    settings: dict[str, Any] = {"parameters": {"weight": 1.0}, "output": "lora", **rank}
    merge(document("linear", [str(a) for a in adapters], **settings), tmp_path / "lora")
    assert ("lost to the adapter's rank" in caplog.text) is told


def test_what_is_no_list_of_adapters_is_refused(base: Path, tmp_path: Path) -> None:
    sources = [{"sources": [{"model": str(base), "layer_range": [0, 2]}]}]
    sliced = {"merge_method": "passthrough", "slices": sources, "output": "lora"}
    with pytest.raises(RecipeError, match="output: `output: lora` merges adapters listed under"):
        merge(sliced, tmp_path / "out")
    plain = document("linear", [str(base)], parameters={"weight": 1}, output="lora")
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json"):
        merge(plain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_model_is_told(
    adapters: list[Path], tiny_model: MakeFamily, tmp_path: Path
) -> None:
    stranger = tiny_model("gpt2", 0)
    recipe = document("linear", [f"{stranger}+{adapters[0]}"], parameters={"weight": 1})
    with pytest.raises(CheckpointError, match="Was the adapter trained on this model"):
        merge(recipe, tmp_path / "out")
