"""Adapters merged in adapter space do what merging their models would do, up to the rank."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.draft import Draft
from evomerge.adapters.merging import merge_adapters
from evomerge.adapters.tensors import read_tensor
from evomerge.checkpoints.reader import Checkpoint
from evomerge.errors import CheckpointError

MakeModel = Callable[..., Path]
MakeAdapter = Callable[..., Path]
Merge = Callable[..., dict[str, Tensor]]
Run = Callable[..., Tensor]


def elect(_name: str, deltas: list[Tensor]) -> Tensor:
    """TIES without trimming: the mean of those that have the sign of the sum."""
    stacked = torch.stack(deltas)
    agree = stacked.sign() == stacked.sum(dim=0).sign()
    return (stacked * agree).sum(dim=0) / agree.sum(dim=0).clamp(min=1)


def write(draft: Draft, folder: Path) -> Path:
    folder.mkdir()
    draft.write(folder)
    return folder


def reader(base: Path) -> Callable[[str], Tensor]:
    entries = Checkpoint(str(base)).entries
    return lambda name: read_tensor(entries[name])


def deltas(base: Path, states: Sequence[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
    read = reader(base)
    names = Checkpoint(str(base)).entries
    return {n: [state[n].double() - read(n).double() for state in states] for n in names}


@pytest.fixture
def base(tiny_llama: MakeModel) -> Path:
    return tiny_llama(7, dtype="float32", tie_word_embeddings=False)


@pytest.fixture
def three(base: Path, make_adapter: MakeAdapter) -> list[Path]:
    """Return adapters of different ranks, scales and modules."""
    return [
        make_adapter(base, 1, r=4, lora_alpha=6, target_modules=["q_proj", "embed_tokens"]),
        make_adapter(base, 2, r=2, use_rslora=True, target_modules=["q_proj", "down_proj"]),
        make_adapter(base, 3, r=3, target_modules=["down_proj"], alpha_pattern={"down_proj": 5}),
    ]


def test_weighted_sum_is_exact_at_the_sum_of_ranks(
    base: Path, three: list[Path], merge_with_peft: Merge, run: Run, tmp_path: Path
) -> None:
    weights = [0.5, -0.75, 2.0]
    draft = merge_adapters([Adapter(str(f)) for f in three], weights=weights)
    assert draft.error == 0
    assert draft.changes["model.layers.0.self_attn.q_proj"].rank == 6
    folder = write(draft, tmp_path / "merged")
    apart = deltas(base, [merge_with_peft(base, f) for f in three])
    together = deltas(base, [merge_with_peft(base, folder)])
    for name, parts in apart.items():
        expected = sum((w * d for w, d in zip(weights, parts, strict=True)), torch.zeros(()))
        assert (together[name][0] - expected).abs().max() < 1e-5, name
    assert (run(base, folder) - run(base)).abs().max() > 0.01
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert config["task_type"] == "CAUSAL_LM"


def test_weighted_sum_of_a_smaller_rank_is_the_best_there_is(
    base: Path, three: list[Path], merge_with_peft: Merge, tmp_path: Path
) -> None:
    adapters = [Adapter(str(f)) for f in three]
    full = merge_adapters(adapters, weights=[1, 1, 1])
    small = merge_adapters(adapters, weights=[1, 1, 1], rank=2)
    assert 0 < small.error < 1
    lost = total = 0.0
    for name, change in small.changes.items():
        whole = full.changes[name].b.double() @ full.changes[name].a.double()
        singular = torch.linalg.svdvals(whole).square()
        assert change.rank == 2
        assert 1 - change.share == pytest.approx(float(singular[2:].sum() / singular.sum()), 1e-5)
        lost, total = lost + float(singular[2:].sum()), total + float(singular.sum())
    assert small.error == pytest.approx((lost / total) ** 0.5, 1e-5)
    folder = write(small, tmp_path / "small")
    together = deltas(base, [merge_with_peft(base, folder)])
    name = "model.layers.1.mlp.down_proj"
    product = small.changes[name].b @ small.changes[name].a
    torch.testing.assert_close(together[f"{name}.weight"][0].float(), product, rtol=0, atol=1e-6)


def test_any_method_is_applied_to_products_not_to_factors(
    base: Path, three: list[Path], merge_with_peft: Merge, tmp_path: Path
) -> None:
    draft = merge_adapters([Adapter(str(f)) for f in three], merge=elect, rank=32)
    folder = write(draft, tmp_path / "elected")
    apart = deltas(base, [merge_with_peft(base, f) for f in three])
    together = deltas(base, [merge_with_peft(base, folder)])
    for name, parts in apart.items():
        torch.testing.assert_close(together[name][0], elect(name, parts), rtol=0, atol=2e-5)
    rough = merge_adapters([Adapter(str(f)) for f in three], merge=elect)
    assert rough.changes["model.layers.0.self_attn.q_proj"].rank == 6
    assert draft.error < 1e-3 < rough.error


def test_whole_tensors_are_merged_as_what_they_add_to_the_base(
    base: Path, make_adapter: MakeAdapter, merge_with_peft: Merge, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"r": 2, "target_modules": ["q_proj"]}
    folders = [
        make_adapter(base, 1, modules_to_save=["norm", "lm_head"], **settings),
        make_adapter(base, 2, **settings),
    ]
    adapters = [Adapter(str(f)) for f in folders]
    with pytest.raises(CheckpointError, match=r"lm_head.weight is replaced as a whole: .* base"):
        merge_adapters(adapters, weights=[0.5, 0.5])
    draft = merge_adapters(adapters, weights=[2.0, 1.0], base=reader(base))
    folder = write(draft, tmp_path / "merged")
    apart = deltas(base, [merge_with_peft(base, f) for f in folders])
    together = deltas(base, [merge_with_peft(base, folder)])
    for name in ("lm_head.weight", "model.norm.weight", "model.layers.2.self_attn.q_proj.weight"):
        expected = 2 * apart[name][0] + apart[name][1]
        torch.testing.assert_close(together[name][0], expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 0.01


def test_gpt2_adapters_are_merged_in_their_own_layout(
    tiny_gpt2: MakeModel, make_adapter: MakeAdapter, merge_with_peft: Merge, tmp_path: Path
) -> None:
    base = tiny_gpt2(3)
    folders = [make_adapter(base, k, r=2, target_modules=["c_attn", "c_proj"]) for k in (1, 2)]
    draft = merge_adapters([Adapter(str(f)) for f in folders], weights=[1.0, 1.0])
    folder = write(draft, tmp_path / "merged")
    apart = [merge_with_peft(base, f) for f in folders]
    together, origin = merge_with_peft(base, folder), reader(base)
    for name in ("transformer.h.0.attn.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"):
        expected = apart[0][name] + apart[1][name] - origin(name)
        torch.testing.assert_close(together[name], expected, rtol=0, atol=1e-6)


def test_the_same_adapter_with_half_weights_is_itself(
    base: Path, make_adapter: MakeAdapter, run: Run, tmp_path: Path
) -> None:
    source = make_adapter(base, 1, r=3, target_modules=["k_proj"], modules_to_save=["norm"])
    twins = [Adapter(str(source)), Adapter(str(source))]
    folder = write(merge_adapters(twins, weights=[0.5, 0.5], rank=3), tmp_path / "same")
    torch.testing.assert_close(run(base, folder), run(base, source), rtol=1e-5, atol=1e-5)
    kept = load_file(folder / "adapter_model.safetensors")
    assert kept["base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight"].shape == (3, 32)


def test_what_cannot_be_merged_is_listed_in_one_line(
    base: Path, tiny_llama: MakeModel, make_adapter: MakeAdapter
) -> None:
    wide = tiny_llama(7, dtype="float32", intermediate_size=64)
    adapters = [
        Adapter(str(make_adapter(base, 1, r=2, target_modules=["down_proj"]))),
        Adapter(str(make_adapter(base, 1, r=2, use_dora=True, target_modules=["q_proj"]))),
        Adapter(str(make_adapter(wide, 1, r=2, target_modules=["down_proj"]))),
    ]
    with pytest.raises(CheckpointError) as caught:
        merge_adapters(adapters, weights=[1, 1, 1])
    text = str(caught.value)
    assert f"{adapters[1].reference} is a DoRA: its change is no product of factors" in text
    assert "model.layers.0.mlp.down_proj is adapted as [32, 48] and [32, 64]" in text
    assert text.endswith("Apply them to their base and merge the models instead")
    assert "\n" not in text


def test_different_bases_are_told(
    base: Path, tiny_llama: MakeModel, make_adapter: MakeAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    other = tiny_llama(8, dtype="float32")
    made = [make_adapter(b, 1, r=2, target_modules=["q_proj"]) for b in (base, other)]
    merge_adapters([Adapter(str(f)) for f in made], weights=[1, 1])
    assert "the adapters name different base models" in caplog.text


def test_calls_that_make_no_sense_are_refused(three: list[Path]) -> None:
    adapters = [Adapter(str(f)) for f in three]
    for wrong in ({}, {"weights": [1.0]}, {"weights": [1, 1, 1], "merge": elect}):
        with pytest.raises(ValueError, match="either one weight per adapter, or a merge function"):
            merge_adapters(adapters, **wrong)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(CheckpointError, match="a LoRA of rank 0 cannot be"):
        merge_adapters(adapters, weights=[1, 1, 1], rank=0)
