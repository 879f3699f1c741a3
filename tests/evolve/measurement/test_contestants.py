"""Whatever is called a model is found before anything is loaded, and opened as what it is."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evomerge.adapters.extraction import Extraction, extract_lora
from evomerge.errors import CheckpointError, EvoMergeException, MissingExtra, RecipeError
from evomerge.evolve.measurement.contestants import Opener, find_contestants

MakeModel = Callable[..., Path]
RECIPE = """
models:
  - {model: "zoo:reverse", parameters: {weight: 1.0}}
  - {model: "zoo:sort", parameters: {weight: 0.0}}
merge_method: linear
dtype: bfloat16
"""


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(folder: Path, file: Path) -> None:
    """Write a zoo model as llama.cpp has it: other names, interleaved heads, byte-level tokens."""
    from gguf import GGUFWriter

    from evomerge.checkpoints.loading import load_model, load_tokenizer

    model, vocabulary = load_model(folder).float(), load_tokenizer(folder).get_vocab()
    config, writer = model.config, GGUFWriter(str(file), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    spelled = {" ": "Ġ", "?": "01"}  # a blank as bytes spell it; and one merge, for there must be
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_token_list([spelled.get(token, token) for token in tokens])
    writer.add_token_types([3 if token.startswith("<") else 1 for token in tokens])
    writer.add_token_merges(["0 1"])
    writer.add_bos_token_id(vocabulary["<s>"])
    writer.add_eos_token_id(vocabulary["</s>"])
    writer.add_add_bos_token(True)
    for name, tensor in model.state_dict().items():
        writer.add_tensor(*_spell(name, tensor.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _spell(name: str, values: Any, config: Any) -> tuple[str, Any]:
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.weight", values
    _, _, layer, part = stem.split(".", 3)
    if part.endswith(("q_proj", "k_proj")):
        heads = config.num_attention_heads
        halves = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2)
        values = np.ascontiguousarray(halves.reshape(values.shape))
    return f"blk.{layer}.{GGUF_NAMES[part]}.weight", values


def test_a_gguf_file_scores_as_the_folder_it_was_made_of(tmp_path: Path) -> None:
    from evomerge.checkpoints.locate import locate

    file = tmp_path / "sort.gguf"
    write_gguf(locate("zoo:sort"), file)
    plain, unpacked = find_contestants(["zoo:sort", str(file)])
    assert (unpacked.label, unpacked.recipe) == ("sort", None)
    opener, requests = Opener("cpu", "float32"), [("s cab=", "abc"), ("s cab=", "cab")]
    with opener.open(plain, {"model"}) as subjects:
        expected = subjects["model"].score(requests)
    with opener.open(unpacked, {"model"}) as subjects:
        assert subjects["model"].score(requests) == pytest.approx(expected, rel=1e-4)
    with (
        pytest.raises(CheckpointError, match="a GGUF file has no recipe"),
        opener.open(unpacked, {"recipe"}),
    ):
        pass


def test_without_its_package_gguf_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.gguf").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="GGUF files need the package gguf"):
        find_contestants([str(tmp_path / "a.gguf")])


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    from evomerge.checkpoints.locate import locate

    folders = [str(tmp_path / name / "checkpoint-100") for name in ("math", "code")]
    for folder in folders:
        shutil.copytree(locate("zoo:sort"), folder)
    found = find_contestants([*folders, "zoo:base"])
    assert [each.label for each in found] == [*folders, "zoo:base"]


def test_folders_zoo_models_and_recipes_have_names(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    recipe.write_text(RECIPE)
    from evomerge.checkpoints.locate import locate

    folder = locate("zoo:sort")
    found = find_contestants(["zoo:sort", str(folder), str(recipe), "ties"])
    assert [each.label for each in found] == ["zoo:sort", "sort", "mine", "ties"]
    assert [each.folder for each in found] == [folder, folder, None, None]
    assert found[3].recipe is not None
    assert found[3].recipe.method == "ties"


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("zoo:sorted", r"the zoo has no model 'sorted' \(did you mean 'sort'\?\)"),
        ("./nowhere", "there is no model folder ./nowhere"),
        ("nowhere.gguf", "there is no file nowhere.gguf"),
        ("nowhere.yml", "nowhere.yml"),
    ],
)
def test_who_is_not_there_is_told_of_at_once(reference: str, what: str) -> None:
    with pytest.raises(EvoMergeException, match=what):
        find_contestants(["zoo:sort", reference])


def test_a_recipe_for_an_adapter_is_no_model(tmp_path: Path) -> None:
    recipe = tmp_path / "lora.yml"
    recipe.write_text(
        "models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\noutput: lora\n"
    )
    with pytest.raises(RecipeError, match="an adapter is no model: merge it, and name"):
        find_contestants([str(recipe)])


def test_a_recipe_is_made_in_memory_as_the_folder_would_be_loaded(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    recipe.write_text(RECIPE)
    merged, plain = find_contestants([str(recipe), "zoo:reverse"])
    opener, requests = Opener("cpu"), [("r abc=", "cba"), ("r abc=", "abc")]
    with opener.open(merged, {"model", "recipe"}) as subjects:
        found = subjects["model"].score(requests)
        assert subjects["recipe"]["merge_method"] == "linear"
    with opener.open(plain, {"model", "folder"}) as subjects:
        assert subjects["model"].score(requests) == pytest.approx(found, rel=1e-5)
        assert (subjects["folder"] / "config.json").is_file()
    assert not list(tmp_path.glob("evomerge-*"))


def test_a_folder_is_made_of_a_recipe_only_for_who_needs_one(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    recipe.write_text(RECIPE)
    [merged] = find_contestants([str(recipe)])
    with Opener("cpu").open(merged, {"folder"}) as subjects:
        folder = subjects["folder"]
        assert set(subjects) == {"folder"}
        assert (folder / "model.safetensors").is_file()
    assert not folder.exists()


def test_adapters_are_applied(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    extract_lora("zoo:sort", "zoo:base", adapter, Extraction(max_rank=8))
    plain, adapted = find_contestants(["zoo:base", f"zoo:base+{adapter}"])
    opener, requests = Opener("cpu"), [("s cab=", "abc")]
    with opener.open(plain, {"model"}) as subjects:
        before = subjects["model"].score(requests)
    with opener.open(adapted, {"model"}) as subjects:
        assert subjects["model"].score(requests) != pytest.approx(before, rel=1e-3)
