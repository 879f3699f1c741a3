"""Merged folders: loadable, self-describing, and never half written."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from evomerge.checkpoints.chat_template import named_templates
from evomerge.checkpoints.locate import locate
from evomerge.engine import merge
from evomerge.errors import CheckpointError
from evomerge.recipe import load_recipe, parse_recipe

MakeModel = Callable[..., Path]
MakeFamily = Callable[..., Path]
METHODS = ["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "passthrough"]
NAME = "model.layers.1.mlp.down_proj.weight"


def document_for(method: str, *folders: Path | str, **more: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {"weight": 0.5, "density": 0.5}
    if method == "slerp":
        parameters = {"t": 0.4}
    if method == "linear":
        parameters = {"weight": 0.5}
    if method == "task_arithmetic":
        parameters = {"weight": 0.5}
    names = [str(folder) for folder in folders]
    if method == "passthrough":
        return {"merge_method": method, "models": [{"model": names[-1]}], **more}
    base = {} if method == "linear" else {"base_model": names[0]}
    return {
        "merge_method": method,
        **base,
        "models": [{"model": name} for name in (names if method == "linear" else names[1:])],
        "parameters": parameters,
        **more,
    }


def poisoned(source: Path, target: Path, *values: float) -> Path:
    """Copy a model and put values at the end of one tensor."""
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    for place, value in enumerate(values, start=1):
        tensors[NAME].view(-1)[-place] = value
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gpt2", "gpt_neox", "opt"])
@pytest.mark.parametrize("stacked", [False, True])
def test_transformers_loads_the_result_and_it_gives_finite_logits(
    tiny_model: MakeFamily, tmp_path: Path, kind: str, stacked: bool
) -> None:
    from transformers import AutoModelForCausalLM

    folders = [tiny_model(kind, 0), tiny_model(kind, 1)]
    document = document_for("ties", *folders)
    if stacked:
        ranges = [(folders[0], [0, 2]), (folders[1], [0, 3])]
        slices = [{"sources": [{"model": str(f), "layer_range": r}]} for f, r in ranges]
        document = {"merge_method": "passthrough", "slices": slices}
    out = merge(document, tmp_path / "out", shard_bytes=9000)
    model, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.num_hidden_layers == (5 if stacked else 3)
    for entries in (value for value in model.config.to_dict().values() if isinstance(value, list)):
        assert len(entries) in (1, model.config.num_hidden_layers)
    assert model.dtype == torch.bfloat16
    logits = model(input_ids=torch.tensor([[3, 4, 5]])).logits
    assert bool(torch.isfinite(logits).all())


# ----------------------------------------------------------------------------- not of numbers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_told_by_model_tensor_and_count(
    tiny_llama: MakeModel, tmp_path: Path, method: str, value: float
) -> None:
    bad = poisoned(tiny_llama(1), tmp_path / "bad", value, value)
    message = f"{bad} has 2 NaN or infinite values in tensor {NAME}. Fetch the model again"
    with pytest.raises(CheckpointError, match=message) as caught:
        merge(document_for(method, tiny_llama(0), bad), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["bad"]


def test_a_base_that_is_not_of_numbers_is_told_too(tiny_llama: MakeModel, tmp_path: Path) -> None:
    bad = poisoned(tiny_llama(0), tmp_path / "bad", float("nan"))
    for method in ("slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"):
        with pytest.raises(CheckpointError, match=f"{bad} has 1 NaN or infinite value in tensor"):
            merge(document_for(method, bad, tiny_llama(1)), tmp_path / "out")
    assert os.listdir(tmp_path) == ["bad"]


def test_infinities_that_cancel_are_not_overlooked(tiny_llama: MakeModel, tmp_path: Path) -> None:
    bad = poisoned(tiny_llama(0), tmp_path / "bad", float("inf"), float("-inf"))
    with pytest.raises(CheckpointError, match="has 2 NaN or infinite values in tensor"):
        merge(document_for("linear", tiny_llama(1), bad), tmp_path / "out")


def test_a_merge_that_overflows_by_its_own_weights_blames_the_recipe(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    document = document_for("task_arithmetic", tiny_llama(0), tiny_llama(1))
    document["parameters"] = {"weight": 1e38, "lambda": 1e30}
    with pytest.raises(
        CheckpointError, match=r"the merge of .* is NaN or infinite. Check the recipe"
    ):
        merge(document, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_float16_that_overflows_is_refused_and_its_largest_number_is_not(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    large = poisoned(tiny_llama(0, dtype="float32"), tmp_path / "large", 65504.0)
    merge(document_for("linear", large, dtype="float16"), tmp_path / "fits")
    larger = poisoned(tiny_llama(0, dtype="float32"), tmp_path / "larger", 70000.0)
    with pytest.raises(CheckpointError, match=f"{NAME} overflows float16 in this merge. Set dtype"):
        merge(document_for("linear", larger, dtype="float16"), tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["fits", "large", "larger"]


def test_a_parent_cut_short_while_it_is_merged_leaves_nothing(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    parent = Path(shutil.copytree(tiny_llama(0), tmp_path / "parent"))
    weights = parent / "model.safetensors"

    class CutsTheParent:
        def begin(self, label: str, total: int) -> None:
            assert (label, total > 0) == ("merge", True)

        def advance(self, steps: int = 1, note: str = "") -> None:
            assert steps > 0 or note
            os.truncate(weights, weights.stat().st_size // 2)

        def end(self) -> None:
            raise AssertionError("a merge that failed has no end")

    with pytest.raises(
        CheckpointError, match=r"model.safetensors ends inside tensor .* Fetch the fi"
    ):
        merge(document_for("linear", parent), tmp_path / "out", progress=CutsTheParent())
    assert os.listdir(tmp_path) == ["parent"]


# ------------------------------------------------------------------------- what lies beside it


def test_the_model_card_can_be_published_as_it_is(tiny_llama: MakeModel, tmp_path: Path) -> None:
    secret = tmp_path / "home" / "someone"
    parents = [Path(shutil.copytree(tiny_llama(s), secret / f"parent{s}")) for s in range(2)]
    source = f"model:{parents[0]}"
    document = document_for("ties", *parents, tokenizer_source=source, chat_template="a {{ b }}")
    out = merge(document, tmp_path / "out", verdict="It beats both.")
    card = (out / "README.md").read_text()
    assert str(tmp_path) not in card
    _, front, body = card.split("---\n", maxsplit=2)
    assert yaml.safe_load(front) == {
        "base_model": ["parent0", "parent1"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "mergekit", "evomerge"],
    }
    assert "by `ties`" in body
    assert "It beats both." in body
    recipe = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert recipe["models"] == [{"model": "parent1"}]


@pytest.mark.parametrize("method", METHODS)
def test_the_recipe_beside_the_weights_reads_back_as_the_same_recipe(
    tiny_llama: MakeModel, tmp_path: Path, method: str
) -> None:
    folders = [tiny_llama(seed) for seed in range(2)]
    document = document_for(method, *folders, dtype="float32", out_dtype="bfloat16")
    recipe, _ = parse_recipe(document)
    out = merge(recipe, tmp_path / "out", seed=3)
    assert load_recipe(out / "mergekit_config.yml") == recipe
    again = merge(out / "mergekit_config.yml", tmp_path / "again", seed=3)
    assert (out / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_slices_beside_the_weights_name_their_base_and_merge_to_the_same_bits(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    base, *folders = (str(tiny_llama(seed)) for seed in range(3))
    values = {"weight": 0.4, "density": 0.6}
    slices = [
        {"sources": [{"model": m, "layer_range": span, "parameters": values} for m in folders]}
        for span in ([0, 2], [2, 4])
    ]
    document = {"merge_method": "ties", "base_model": base, "slices": slices}
    out = merge(document, tmp_path / "out")
    written = yaml.safe_load((out / "mergekit_config.yml").read_text())
    assert [part["sources"][-1]["model"] for part in written["slices"]] == [base, base]
    again = merge(out / "mergekit_config.yml", tmp_path / "again")
    assert (out / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_the_tokenizer_comes_along_unless_it_is_not_wanted(tmp_path: Path) -> None:
    files = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    with_it = merge("linear", tmp_path / "with")
    assert files <= set(os.listdir(with_it))
    assert (with_it / "tokenizer.json").read_bytes() == (
        locate("zoo:base") / "tokenizer.json"
    ).read_bytes()
    without = merge("linear", tmp_path / "without", copy_tokenizer_files=False)
    assert not files & set(os.listdir(without))


@pytest.mark.parametrize(
    ("template", "written", "warned"),
    [
        ("{{ messages }}", "{{ messages }}", False),
        ("auto", None, False),
        (None, None, False),
        ("chatml", named_templates()["chatml"], False),
    ],
)
def test_a_chat_template_is_written_or_told_to_be_none(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    template: str | None,
    written: str | None,
    warned: bool,
) -> None:
    document = document_for("linear", "zoo:base", "zoo:sort")
    if template:
        document["chat_template"] = template
    with caplog.at_level(logging.WARNING):
        out = merge(document, tmp_path / "out")
    file = out / "chat_template.jinja"
    assert (file.read_text() if file.exists() else None) == written
    assert ("is not a Jinja template" in caplog.text) is warned


def test_a_warning_about_tokenizers_reaches_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Path(shutil.copytree(locate("zoo:sort"), tmp_path / "other"))
    table = json.loads((other / "tokenizer.json").read_text())
    table["model"]["vocab"]["new"] = 99
    (other / "tokenizer.json").write_text(json.dumps(table))
    with caplog.at_level(logging.WARNING):
        merge(document_for("linear", "zoo:base", other), tmp_path / "out")
    assert f"{other} has another tokenizer than zoo:base" in caplog.text


def test_integers_and_empty_tensors_are_copied_as_they_are(
    tiny_llama: MakeModel, tmp_path: Path
) -> None:
    models = []
    for seed in range(2):
        folder = Path(shutil.copytree(tiny_llama(seed), tmp_path / f"model{seed}"))
        tensors = load_file(folder / "model.safetensors")
        tensors |= {
            "ids": torch.tensor([[1, -(2**40)]]) + seed,
            "mask": torch.tensor([True, False]),
            "void": torch.zeros(0, 3),
            "scalar": torch.tensor(2.0 + seed),
        }
        save_file(tensors, folder / "model.safetensors")
        models.append(folder)
    out = merge(document_for("linear", *models), tmp_path / "out")
    merged = load_file(out / "model.safetensors")
    assert merged["ids"].tolist() == [[1, -(2**40)]]
    assert merged["mask"].tolist() == [True, False]
    assert merged["void"].shape == (0, 3)
    assert merged["scalar"].item() == 2.5


# ---------------------------------------------------------------------------------- memory

GROWTH = """
import json, resource, sys
from pathlib import Path
from evomerge.engine import merge
merge({"merge_method": "ties", "base_model": "zoo:base", "models": [{"model": "zoo:sort"}],
       "parameters": {"weight": 1.0, "density": 0.5}}, sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge({"merge_method": "linear", "models": [{"model": sys.argv[1]}] * 2,
       "parameters": {"weight": [0.5, 0.5]}}, sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux only")
def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    header: dict[str, Any] = {}
    size = 100_000_000
    for number, name in enumerate(("model.layers.0.a.weight", "model.norm.weight")):
        extent = [number * size, (number + 1) * size]
        header[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": extent}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + 2 * size)  # a sparse file of 200 MB of zeros
    ended = subprocess.run(
        [sys.executable, "-c", GROWTH, str(folder), str(tmp_path / "warm"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 2 * size
    assert int(ended.stdout) < 20_000, "kilobytes"
