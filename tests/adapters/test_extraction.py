"""An extracted adapter turns the base back into the model, as far as its rank allows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.extraction import Extraction, extract_lora
from evomerge.adapters.tensors import read_tensor
from evomerge.checkpoints.reader import Checkpoint
from evomerge.errors import CheckpointError, OutputError

MakeModel = Callable[..., Path]
Run = Callable[..., Tensor]
FULL = Extraction(max_rank=64)


def extract(model: Path, base: Path, out: Path, **settings: Any) -> Any:
    return extract_lora(str(model), str(base), out, Extraction(**{"max_rank": 64, **settings}))


def logits(folder: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        output: Tensor = model(torch.arange(3, 30).view(1, -1)).logits
    return output


def config_of(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return settings


@pytest.fixture
def pair(tiny_llama: MakeModel) -> tuple[Path, Path]:
    """Return (model, base), with biases and a head of its own."""
    shape = {"dtype": "float32", "tie_word_embeddings": False, "attention_bias": True}
    return tiny_llama(1, **shape), tiny_llama(7, **shape)


@pytest.mark.parametrize("settings", [{}, {"embed_lora": True}, {"distribute_scale": False}])
def test_at_full_rank_the_adapted_base_is_the_model(
    pair: tuple[Path, Path], run: Run, tmp_path: Path, settings: dict[str, Any]
) -> None:
    model, base = pair
    draft = extract(model, base, tmp_path / "lora", **settings)
    assert draft.share == pytest.approx(1.0)
    assert (logits(model) - logits(base)).abs().max() > 0.1
    torch.testing.assert_close(run(base, tmp_path / "lora"), logits(model), rtol=1e-4, atol=1e-4)


def test_evomerge_applies_what_it_extracts(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    extract(model, base, tmp_path / "lora")
    adapter, wanted = Adapter(str(tmp_path / "lora")), Checkpoint(str(model)).entries
    entries = Checkpoint(str(base)).entries
    assert adapter.check({name: entry.shape for name, entry in entries.items()}) == []
    for name, entry in entries.items():
        tensor = read_tensor(adapter.replacement(name) or entry)
        if patch := adapter.patch(name, entry.shape):
            patch.apply(tensor)
        torch.testing.assert_close(tensor, read_tensor(wanted[name]), rtol=1e-5, atol=1e-6)


def test_a_tied_head_follows_its_embeddings(
    tiny_llama: MakeModel, run: Run, tmp_path: Path
) -> None:
    model, base = (tiny_llama(seed, dtype="float32") for seed in (1, 7))
    extract(model, base, tmp_path / "lora")
    torch.testing.assert_close(run(base, tmp_path / "lora"), logits(model), rtol=1e-4, atol=1e-4)


def test_gpt2_whose_weights_lie_the_other_way(
    tiny_gpt2: MakeModel, run: Run, tmp_path: Path
) -> None:
    model, base = tiny_gpt2(1), tiny_gpt2(2)
    extract(model, base, tmp_path / "lora")
    assert config_of(tmp_path / "lora")["fan_in_fan_out"] is True
    torch.testing.assert_close(run(base, tmp_path / "lora"), logits(model), rtol=1e-4, atol=1e-4)


def test_each_module_gets_its_best_approximation(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    draft = extract(model, base, tmp_path / "lora", max_rank=5)
    mine, origin = Checkpoint(str(model)).entries, Checkpoint(str(base)).entries
    lost = total = 0.0
    for name, change in draft.changes.items():
        assert change.rank == 5
        weight = f"{name}.weight"
        delta = read_tensor(mine[weight]).double() - read_tensor(origin[weight]).double()
        singular = torch.linalg.svdvals(delta).square()
        error = (delta - change.b.double() @ change.a.double()).square().sum()
        assert float(error) == pytest.approx(float(singular[5:].sum()), rel=1e-4)
        lost, total = lost + float(error), total + float(singular.sum())
    assert draft.share == pytest.approx(1 - lost / total, abs=1e-6)


def test_what_did_not_change_is_left_out(tiny_llama: MakeModel, tmp_path: Path) -> None:
    base = tiny_llama(7, dtype="float32")
    model = tmp_path / "model"
    model.mkdir()
    tensors = load_file(base / "model.safetensors")
    changed = "model.layers.2.mlp.up_proj.weight"
    tensors[changed] = tensors[changed] + torch.outer(torch.ones(48), torch.arange(32.0))
    from safetensors.torch import save_file

    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    (model / "config.json").write_text((base / "config.json").read_text())
    draft = extract(model, base, tmp_path / "lora")
    assert list(draft.adapted) == ["model.layers.2.mlp.up_proj"]
    assert draft.adapted["model.layers.2.mlp.up_proj"].rank == 1
    assert not draft.whole
    config = config_of(tmp_path / "lora")
    assert config["target_modules"] == ["model.layers.2.mlp.up_proj"]
    assert config["modules_to_save"] is None


def test_choices_of_modules_are_kept_to(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    draft = extract(
        model, base, tmp_path / "lora", include=("mlp",), exclude=(r"layers\.0", "embed|lm_head"),
        save_modules=("v_proj", "model.norm"), skip_undecomposable=True,
    )  # fmt: skip
    words = {name.rpartition(".")[2] for name in draft.changes}
    assert words == {"gate_proj", "up_proj", "down_proj"}
    assert not any("layers.0." in name for name in draft.changes)
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in draft.whole} == {
        "v_proj", "norm",
    }  # fmt: skip
    config = config_of(tmp_path / "lora")
    assert config["modules_to_save"] == ["model.norm", "v_proj"]
    assert "model.layers.1.mlp.up_proj" in config["target_modules"]


def test_norms_are_kept_whole_unless_skipped(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    model = shift_norms(model, tmp_path / "shifted")
    kept = extract(model, base, tmp_path / "kept", max_rank=2)
    skipped = extract(model, base, tmp_path / "skipped", max_rank=2, skip_undecomposable=True)
    assert "model.norm.weight" in kept.whole
    assert not any("norm" in name for name in skipped.whole)
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= set(skipped.whole)


def shift_norms(model: Path, out: Path, q_proj: float = 0.0) -> Path:
    from safetensors.torch import save_file

    out.mkdir()
    tensors = load_file(model / "model.safetensors")
    for name in tensors:
        tensors[name] = tensors[name] + (0.5 if "norm" in name else 0.0)
        tensors[name] += q_proj if "q_proj.weight" in name else 0.0
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text((model / "config.json").read_text())
    return out


def test_small_singular_values_are_dropped(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    draft = extract(model, base, tmp_path / "lora", epsilon=0.25)
    ranks = {change.rank for change in draft.changes.values()}
    assert len(ranks) > 1
    patterns = config_of(tmp_path / "lora")["rank_pattern"]
    assert set(patterns.values()) == ranks - {0} - {max(ranks)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_factors_have_the_models_dtype(tiny_llama: MakeModel, tmp_path: Path, dtype: str) -> None:
    extract(tiny_llama(1, dtype=dtype), tiny_llama(7, dtype=dtype), tmp_path / "lora", max_rank=4)
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{dtype}"}


def test_a_grown_vocabulary_is_kept_whole_and_told(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, base = tiny_llama(1, dtype="float32", vocab_size=80), tiny_llama(7, dtype="float32")
    draft = extract(model, base, tmp_path / "lora", embed_lora=True, max_rank=4)
    assert draft.whole["model.embed_tokens.weight"].shape == (80, 32)
    assert "resize the base before the adapter is loaded" in caplog.text


def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    pair: tuple[Path, Path], tiny_llama: MakeModel, tmp_path: Path
) -> None:
    model, base = pair
    wide = tiny_llama(1, dtype="float32", intermediate_size=64)
    cases: list[tuple[Path, Path, dict[str, Any], str]] = [
        (wide, base, {}, r"mlp.down_proj.weight is \[32, 64\], in the base \[32, 48\]"),
        (model, base, {"include": ("nothing",)}, "no module is left to decompose"),
        (model, base, {"exclude": ("(",)}, r"'\(' is no regular expression: "),
        (model, base, {"save_modules": ("lm_haed",)}, r"has no module 'lm_haed' \(did you mean"),
        (model, base, {"max_rank": 0}, "a LoRA of rank 0 cannot be"),
        (model, model, {}, "no matrix of .* differs from .* by more than the threshold"),
        (model, base, {"epsilon": 1e9}, "no matrix of .* differs"),
    ]
    for one, other, settings, message in cases:
        with pytest.raises(CheckpointError, match=message) as caught:
            extract(one, other, tmp_path / "lora", **settings)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_of_numbers_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, base = pair
    broken = shift_norms(model, tmp_path / "broken", q_proj=float("nan"))
    with pytest.raises(CheckpointError, match=r"layers\.0.*q_proj.weight of .* has 1024 elements"):
        extract(broken, base, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()


def test_an_existing_folder_is_kept_unless_told_otherwise(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    model, base = pair
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        extract(model, base, tmp_path / "lora")
    assert (tmp_path / "lora" / "mine.txt").read_text() == "mine"
    extract_lora(str(model), str(base), tmp_path / "lora", FULL, replace=True)
    assert not (tmp_path / "lora" / "mine.txt").exists()
