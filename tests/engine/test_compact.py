"""Compact paths: every layer kept once, run by a small modelling file beside it."""

import json
from ast import literal_eval
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, dynamic_module_utils

from evomerge.engine import merge
from evomerge.engine.compact import MODELING, is_compact
from evomerge.errors import RecipeError
from evomerge.inference.layer_host import TAILS
from evomerge.recipe import parse_recipe
from evomerge.recipe.path import Hop, make_path

MakeFamily = Callable[..., Path]
KINDS = [
    "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text", "olmo2", "gpt_neox",
    "gpt2", "opt",
]  # fmt: skip
PLACES = [(0, 0), (1, 2), (0, 1), (0, 1), (1, 2), (0, 2)]
SCALES = (1.3, 0.7, 1.0, 1.2, 0.9, 1.25)
IDS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.fixture(autouse=True)
def own_cache_of_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep code that is trusted out of the user's cache."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def path_of(folders: Sequence[Path], target: str) -> Any:
    hops = [
        Hop(str(folders[model]), layer, scale)
        for (model, layer), scale in zip(PLACES, SCALES, strict=True)
    ]
    return make_path(hops, input_scale_target=target)


def load(folder: Path, epsilon: float | None = None) -> Any:
    """Load a folder; transformers finds every tensor, and none that it does not know."""
    model, told = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, trust_remote_code=True
    )
    assert not any(told.values()), {key: value for key, value in told.items() if value}
    for module in model.modules() if epsilon is not None else ():
        for name in ("eps", "variance_epsilon"):
            if hasattr(module, name):
                setattr(module, name, epsilon)
    return model.eval()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(IDS, use_cache=False).logits
    return found


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_compact_path_computes_what_the_baked_one_computes(
    tiny_model: MakeFamily, tmp_path: Path, kind: str
) -> None:
    folders = [tiny_model(kind, seed, dtype="float32") for seed in (1, 2)]
    for target, epsilon in (("delta", None), ("stream", 0.0)):
        path = path_of(folders, target)
        compact = merge(path, tmp_path / f"{target} compact", compact=True)
        baked = merge(path, tmp_path / f"{target} baked")
        found, expected = (logits(load(folder, epsilon)) for folder in (compact, baked))
        assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_layers_that_run_again_are_kept_once_and_have_caches_of_their_own(
    tiny_model: MakeFamily, tmp_path: Path, kind: str
) -> None:
    folders = [tiny_model(kind, seed, dtype="float32") for seed in (1, 2)]
    folder = merge(path_of(folders, "stream"), tmp_path / "out", compact=True)
    tensors = load_file(folder / "model.safetensors")
    numbers = {int(n) for name in tensors for n in name.split(".") if n.isdigit()}
    assert numbers == {0, 1, 2, 5}
    model = load(folder)
    stored = sum(tensor.numel() for tensor in tensors.values())
    assert sum(parameter.numel() for parameter in model.parameters()) == stored
    written = model.generate(IDS, max_new_tokens=6, do_sample=False, pad_token_id=0)
    again = model.generate(IDS, max_new_tokens=6, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(written, again)
    model.save_pretrained(tmp_path / "saved")
    assert is_compact(tmp_path / "saved")
    assert distance(logits(load(tmp_path / "saved")), logits(model)) == 0.0


def test_the_folder_knows_as_many_last_additions_as_live_paths_do(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    folder = merge(path_of([tiny_model("llama", 1)] * 2, "delta"), tmp_path / "out", compact=True)
    [line] = [s for s in (folder / MODELING).read_text().splitlines() if s.startswith("LAST = ")]
    assert literal_eval(line.removeprefix("LAST = ")) == TAILS


def test_models_may_differ_in_settings_of_their_layers(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    settings = {"rope_theta": 100.0, "rms_norm_eps": 0.5, "intermediate_size": 12}
    folders = [tiny_model("llama", 1, dtype="float32")]
    folders.append(tiny_model("llama", 2, dtype="float32", **settings))
    models = [load(folder) for folder in folders]
    path = path_of(folders, "stream")
    with pytest.raises(RecipeError, match="the compact form of a path holds both"):
        merge(path, tmp_path / "baked")
    hidden = models[0].model.embed_tokens(IDS)
    mask = torch.full((1, 1, 9, 9), float("-inf")).triu(1)
    positions = torch.arange(9)[None]
    for (model, layer), scale in zip(PLACES, SCALES, strict=True):
        own = models[model].model
        angles = own.rotary_emb(hidden, positions)
        hidden = own.layers[layer](hidden * scale, attention_mask=mask, position_embeddings=angles)
    expected = models[0].lm_head(models[0].model.norm(hidden)).detach()
    found = logits(load(merge(path, tmp_path / "out", compact=True)))
    assert distance(found, expected) < 1e-5


def test_a_merge_may_be_on_a_compact_path(tiny_model: MakeFamily, tmp_path: Path) -> None:
    folders = [tiny_model("llama", seed, dtype="float32") for seed in (1, 2)]
    weights = [{"model": str(f), "parameters": {"weight": 0.5}} for f in folders]
    merged, _ = parse_recipe({"merge_method": "linear", "models": weights})
    hops = [Hop(str(folders[0]), 0), Hop(merged, 1, 1.5), Hop(merged, 1), Hop(str(folders[0]), 2)]
    path = make_path(hops, input_scale_target="delta")
    found, expected = (
        logits(load(merge(path, tmp_path / f"out {compact}", compact=compact)))
        for compact in (True, False)
    )
    assert distance(found, expected) < 1e-5


def test_the_folder_says_what_it_is(tiny_model: MakeFamily, tmp_path: Path) -> None:
    folders = [tiny_model("llama", seed, dtype="float32") for seed in (1, 2)]
    folder = merge(path_of(folders, "delta"), tmp_path / "out", compact=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["path_layers"] == [0, 1, 2, 2, 1, 5]
    assert config["path_scales"] == list(SCALES)
    assert config["path_target"] == "delta"
    assert config["path_settings"] == {}
    assert config["num_hidden_layers"] == 6
    assert "(transformers.LlamaForCausalLM)" in (folder / "modeling_path.py").read_text()
    assert "input_scale_target: delta" in (folder / "mergekit_config.yml").read_text()


def test_what_a_recipe_says_beside_its_layers_holds_for_the_compact_form(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    folders = [tiny_model("llama", seed, dtype="float32") for seed in (1, 2)]
    path = replace(path_of(folders, "delta"), dtype="float32", out_dtype="bfloat16")
    folder = merge(path, tmp_path / "out", compact=True)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    tensors = load_file(folder / "model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("llama", {"hidden_size": 32}, "hidden_size 16 and .* has 32: .*cross-domain merging"),
        ("gemma2", {"sliding_window": 8}, "sliding_window 4 and .* has 8: .* makes its masks once"),
    ],
)
def test_what_no_path_holds_is_refused(
    tiny_model: MakeFamily, tmp_path: Path, kind: str, change: dict[str, Any], message: str
) -> None:
    folders = [tiny_model(kind, 1), tiny_model(kind, 2, **change)]
    with pytest.raises(RecipeError, match=message):
        merge(path_of(folders, "stream"), tmp_path / "out", compact=True)


def test_without_trust_nothing_is_loaded(tiny_model: MakeFamily, tmp_path: Path) -> None:
    folder = merge(path_of([tiny_model("llama", 1)] * 2, "stream"), tmp_path / "out", compact=True)
    for trust in (None, False):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=trust)


def test_only_code_that_is_written_here_is_known_as_such(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    folder = merge(path_of([tiny_model("llama", 1)] * 2, "stream"), tmp_path / "out", compact=True)
    assert is_compact(folder)
    code = (folder / MODELING).read_text()
    (folder / MODELING).write_text(code + "\nprint('and something else')\n")
    assert not is_compact(folder)
    (folder / MODELING).write_text(code)
    config = json.loads((folder / "config.json").read_text())
    named = {**config, "architectures": ["Qwen2ForCausalLM"]}
    mapped = {**config, "auto_map": {**config["auto_map"], "AutoConfig": "other.PathConfig"}}
    for changed in (named, mapped, [], None):
        (folder / "config.json").write_text(json.dumps(changed))
        assert not is_compact(folder)
    assert not is_compact(tiny_model("llama", 1))
    assert not is_compact(folder / "model.gguf")


def test_attention_is_computed_alike_in_layers_with_settings_of_their_own(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    folders = [tiny_model("llama", 1, dtype="float32")]
    folders.append(tiny_model("llama", 2, dtype="float32", num_key_value_heads=1))
    model = load(merge(path_of(folders, "stream"), tmp_path / "out", compact=True))
    expected = logits(model)
    for way in ("eager", "sdpa"):
        model.set_attn_implementation(way)
        ways = {part.config._attn_implementation for part in model.modules() if is_attention(part)}
        assert ways == {way}
        assert distance(logits(model), expected) < 1e-5


def is_attention(module: Any) -> bool:
    return type(module).__name__ == "LlamaAttention"


def test_only_paths_have_a_compact_form(tiny_model: MakeFamily, tmp_path: Path) -> None:
    whole = {"merge_method": "passthrough", "models": [{"model": str(tiny_model("llama", 1))}]}
    with pytest.raises(RecipeError, match="slices: this is no path"):
        merge(whole, tmp_path / "out", compact=True)
    ends = [Hop(str(tiny_model("llama", 1)), 0)]
    ends.append(Hop(str(tiny_model("llama", 2, rms_norm_eps=0.5)), 1))
    with pytest.raises(RecipeError, match=r"it must end like .*, whose settings the end has"):
        merge(make_path(ends), tmp_path / "out", compact=True)
