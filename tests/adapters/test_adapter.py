"""An adapter folds into a model's tensors as peft folds it, and what does not fit is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.tensors import read_tensor
from evomerge.checkpoints.reader import Checkpoint
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]
MakeAdapter = Callable[..., Path]
Merge = Callable[..., dict[str, Tensor]]

LLAMA: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "target_modules": ["q_proj", "down_proj"]},
    "all linear": {"r": 3, "lora_alpha": 7, "target_modules": "all-linear"},
    "rslora": {"r": 5, "lora_alpha": 9, "use_rslora": True, "target_modules": ["k_proj"]},
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "up_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 6,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "rank_pattern": {"v_proj": 2, r"layers\.1\.self_attn\.q_proj": 7},
        "alpha_pattern": {"v_proj": 5, r".*\.3\.mlp\.down_proj": 11},
    },
    "embeddings": {"r": 4, "target_modules": ["embed_tokens", "q_proj"]},
    "embeddings dora": {"r": 4, "use_dora": True, "target_modules": ["embed_tokens", "o_proj"]},
    "saved modules": {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]},
    "biases": {"r": 2, "target_modules": ["q_proj"], "bias": "all"},
    "biases of adapted modules": {"r": 2, "target_modules": ["q_proj"], "bias": "lora_only"},
    "lora_bias": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj"], "lora_bias": True},
}
GPT2: dict[str, dict[str, Any]] = {
    "conv1d": {"r": 4, "target_modules": ["c_attn", "c_proj", "c_fc"]},
    "conv1d dora": {"r": 4, "use_dora": True, "target_modules": ["c_attn", "c_proj"]},
    "conv1d rslora": {"r": 3, "use_rslora": True, "target_modules": ["c_proj", "wte"]},
}


def apply(base: Path, adapter: Adapter) -> dict[str, Tensor]:
    """Return every tensor of the model as the adapter makes it, float32."""
    entries = Checkpoint(str(base)).entries
    assert adapter.check({name: entry.shape for name, entry in entries.items()}) == []
    adapted = {}
    for name, entry in entries.items():
        tensor = read_tensor(adapter.replacement(name) or entry).float()
        patch = adapter.patch(name, entry.shape)
        if patch:
            patch.apply(tensor if tensor.dim() > 1 else tensor.view(1, -1))
        adapted[name] = tensor
    return adapted


def assert_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, tensor in ours.items():
        scale = theirs[name].square().mean().sqrt()
        assert (tensor - theirs[name]).abs().max() <= 2e-6 * scale, name


@pytest.mark.parametrize("kind", LLAMA)
def test_llama_is_adapted_as_peft_adapts_it(
    tiny_llama: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge, kind: str
) -> None:
    base = tiny_llama(7, dtype="float32", attention_bias=True, tie_word_embeddings=False)
    folder = make_adapter(base, 1, **LLAMA[kind])
    before = apply_nothing(base)
    ours = apply(base, Adapter(str(folder)))
    assert_alike(ours, merge_with_peft(base, folder))
    assert any(not torch.equal(ours[name], before[name]) for name in ours)


def apply_nothing(base: Path) -> dict[str, Tensor]:
    return {n: read_tensor(e).float() for n, e in Checkpoint(str(base)).entries.items()}


@pytest.mark.parametrize("kind", GPT2)
def test_gpt2_whose_weights_lie_the_other_way_is_adapted_too(
    tiny_gpt2: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge, kind: str
) -> None:
    base = tiny_gpt2(3)
    folder = make_adapter(base, 1, **GPT2[kind])
    assert_alike(apply(base, Adapter(str(folder))), merge_with_peft(base, folder))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_factors_are_multiplied_in_float32(
    tiny_llama: MakeModel, make_adapter: MakeAdapter, dtype: str
) -> None:
    base = tiny_llama(7, dtype="float32")
    folder = make_adapter(base, 1, dtype=dtype, r=4, lora_alpha=3, target_modules=["q_proj"])
    stored = load_file(folder / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    a, b = (stored[f"base_model.model.{name}.lora_{role}.weight"].double() for role in "AB")
    assert stored[f"base_model.model.{name}.lora_A.weight"].dtype == getattr(torch, dtype)
    patch = Adapter(str(folder)).patch(f"{name}.weight", (32, 32))
    assert patch
    change = patch.apply(torch.zeros(32, 32)).double()
    torch.testing.assert_close(change, 0.75 * b @ a, rtol=1e-5, atol=1e-7)


def test_names_may_differ_by_their_wrappers(
    tiny_gpt2: MakeModel, make_adapter: MakeAdapter
) -> None:
    folder = make_adapter(tiny_gpt2(3), 1, r=2, target_modules=["c_attn"])
    adapter = Adapter(str(folder))
    shapes = {"h.0.attn.c_attn.weight": (16, 48), "h.1.attn.c_attn.weight": (16, 48)}
    assert adapter.check(shapes) == []
    assert adapter.patch("h.1.attn.c_attn.weight", (16, 48))
    assert adapter.patch("h.1.attn.c_attn.bias", (48,)) is None
    assert adapter.patch("h.1.mlp.c_fc.weight", (16, 64)) is None
    twice = {**shapes, "transformer.h.0.attn.c_attn.weight": (16, 48)}
    (problem,) = adapter.check(twice)
    assert "both h.0.attn.c_attn.weight and transformer.h.0.attn.c_attn.weight" in problem


def test_everything_that_does_not_fit_is_listed(
    tiny_llama: MakeModel, make_adapter: MakeAdapter
) -> None:
    base = tiny_llama(7, dtype="float32", tie_word_embeddings=False)
    settings: dict[str, Any] = {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    adapter = Adapter(str(make_adapter(base, 1, r=2, **settings)))
    shapes = {n: e.shape for n, e in Checkpoint(str(base)).entries.items()}
    first = "model.layers.0.self_attn.q_proj.weight"
    wrong = {**shapes, first: (32, 64), "lm_head.weight": (99, 32)}
    del wrong["model.layers.3.self_attn.q_proj.weight"]
    problems = adapter.check(wrong)
    assert sorted(problems) == sorted(
        [
            f"{first} is [32, 64], but {adapter.reference} adapts [32, 32]",
            f"lm_head.weight is [99, 32], but {adapter.reference} replaces it by [64, 32]",
            f"{adapter.reference} adapts model.layers.3.self_attn.q_proj.weight, "
            "which the model lacks",
        ]
    )
    with pytest.raises(CheckpointError, match=r"adapts \[32, 32\]. Was the adapter trained on"):
        adapter.patch(first, (32, 64))


def test_the_copy_of_a_tied_head_is_no_stranger(
    tiny_llama: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge
) -> None:
    base = tiny_llama(7, dtype="float32")
    folder = make_adapter(
        base, 1, r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"],
        ensure_weight_tying=True,
    )  # fmt: skip
    assert "base_model.model.lm_head.weight" in load_file(folder / "adapter_model.safetensors")
    assert_alike(apply(base, Adapter(str(folder))), merge_with_peft(base, folder))


def test_fingerprint_is_of_the_contents(
    tiny_llama: MakeModel, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    base = tiny_llama(7, dtype="float32")
    folders = [make_adapter(base, seed, r=2, target_modules=["q_proj"]) for seed in (1, 2)]
    copy = Path(shutil.copytree(folders[0], tmp_path / "copy"))
    prints = [Adapter(str(folder)).fingerprint for folder in (*folders, copy)]
    assert prints[0] == prints[2] != prints[1]
    assert len(prints[0]) == 32
    change_config(copy, lora_alpha=99)
    assert Adapter(str(copy)).fingerprint != prints[0]


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def folder(tiny_llama: MakeModel, make_adapter: MakeAdapter, tmp_path: Path) -> Path:
    base = tiny_llama(7, dtype="float32")
    made = make_adapter(base, 1, r=2, target_modules=["q_proj"])
    return Path(shutil.copytree(made, tmp_path / "adapter"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is an adapter of type IA3. Only LORA"),
        ({"peft_type": None}, "is an adapter of type None"),
        ({"target_parameters": ["w"]}, "has the setting target_parameters, which is not supported"),
        ({"init_lora_weights": "pissa_niter_4"}, "was started by pissa_niter_4, which changes the"),
        ({"lora_alpha": "many"}, "says lora_alpha: 'many', which is no number"),
        ({"alpha_pattern": {"(": 3}}, r"says alpha_pattern: '\(', which is no regular expression"),
        ({"use_dora": True}, "use_dora is True, but .*q_proj has no lora_magnitude_vector"),
    ],
)
def test_settings_that_cannot_be_folded_in_are_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        Adapter(str(folder))
    assert "\n" not in str(caught.value)


NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{NAME}A.weight": None}, "q_proj has no lora_A"),
        ({f"{NAME}A.weight": torch.zeros(3, 32)}, r"factors A \[3, 32\] and B \[32, 2\]"),
        ({f"{NAME}A.weight": torch.zeros(2, 32, 1, 1)}, "adapts the convolution"),
        ({f"{NAME}A.weight": torch.zeros(2, 32, dtype=torch.int8)}, "lora_A.weight has dtype I8"),
        ({f"{NAME}C.weight": torch.zeros(2)}, "lora_C.weight is of no known kind"),
        ({f"{NAME}magnitude_vector": torch.zeros(32)}, "has a lora_magnitude_vector"),
    ],
)
def test_tensors_that_make_no_adapter_are_refused(
    folder: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, file)
    with pytest.raises(CheckpointError, match=message) as caught:
        Adapter(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_that_lie_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.symlink_to(file.rename(tmp_path / "elsewhere"))
    with pytest.raises(CheckpointError, match=r"is a link out of its folder, to .*elsewhere"):
        Adapter(str(folder))


@pytest.mark.parametrize("alpha", [10**400, -(10**400), float("nan"), float("inf"), "8", None])
def test_a_scale_that_is_no_number_is_refused(folder: Path, alpha: Any) -> None:
    change_config(folder, lora_alpha=alpha)
    with pytest.raises(CheckpointError, match=r"says lora_alpha: .*, which is no number"):
        Adapter(str(folder))


def test_the_tensors_that_change_a_models_tensor_are_told(folder: Path) -> None:
    adapter = Adapter(str(folder))
    entries = adapter.entries("model.layers.0.self_attn.q_proj.weight")
    assert {e.name for e in entries} == {f"{NAME}A.weight", f"{NAME}B.weight"}
    assert adapter.entries("model.norm.weight") == []


def test_missing_and_damaged_files_are_refused(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    whole = file.read_bytes()
    adapter = Adapter(str(folder))
    file.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="is cut short"):
        Adapter(str(folder))
    patch = adapter.patch("model.layers.3.self_attn.q_proj.weight", (32, 32))
    assert patch
    with pytest.raises(CheckpointError, match=r"ends inside tensor .*layers\.3.*lora_B"):
        patch.apply(torch.zeros(32, 32))
    file.rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"only the pickle adapter_model.bin. Convert it"):
        Adapter(str(folder))
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no adapter_model.safetensors"):
        Adapter(str(folder))
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no adapter_config.json"):
        Adapter(str(folder))


def test_biases_that_peft_would_ignore_are_ignored_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {f"{NAME}B.bias": torch.ones(32)}, file)
    adapter = Adapter(str(folder))
    assert "lora_bias is not set, so 1 biases in its file are ignored" in caplog.text
    assert adapter.patch("model.layers.0.self_attn.q_proj.bias", (32,)) is None
