"""How far baked folders are from their paths, and compact ones not at all."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, dynamic_module_utils

from evomerge.checkpoints.loading import load_model
from evomerge.engine import Models, merge
from evomerge.engine.compact import is_compact
from evomerge.evaluation import ExactMatch, Task
from evomerge.evolve.drift import LONGEST, ROWS, Drift, build_path, collect_texts, measure_drift
from evomerge.recipe import Hop, Recipe, make_path, parse_recipe
from evomerge.records import Item

Make = Callable[..., str]
TOKENS = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PLAIN = {**TOKENS, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64}
GATED = {**PLAIN, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}
KINDS: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "mistral": {**GATED, "sliding_window": 4, "tie_word_embeddings": True},
    "qwen2": GATED,
    "qwen3": GATED,
    "phi3": GATED,
    "gemma2": {**GATED, "sliding_window": 4},
    "gemma3_text": {**GATED, "sliding_window": 4, "sliding_window_pattern": 2},
    "gpt_neox": {**PLAIN, "intermediate_size": 24},
    "gpt2": {**TOKENS, "n_embd": 16, "n_head": 2, "n_positions": 64},
}
OPT = {**PLAIN, "ffn_dim": 24, "word_embed_proj_dim": 16}
DEPTHS = {"gpt2": "n_layer"}
EPSILONS = {"gpt2": "layer_norm_epsilon", "gpt_neox": "layer_norm_eps"}
PLACES = [(0, 0), (1, 3), (1, 4), (0, 1), (0, 1), (1, 0), (0, 2)]
SCALES = (1.3, 0.7, 1.0, 1.2, 0.9, 1.25, 0.6)


@pytest.fixture(autouse=True)
def own_cache_of_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep code that is trusted out of the user's cache."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return make(kind, seed, layers, **config) -> folder of a random model."""
    made: dict[tuple[Any, ...], str] = {}

    def make(kind: str, seed: int, layers: int, **more: Any) -> str:
        key = (kind, seed, layers, repr(more))
        if key not in made:
            depth = {DEPTHS.get(kind, "num_hidden_layers"): layers}
            config = AutoConfig.for_model(kind, **{**KINDS.get(kind, OPT), **depth, **more})
            folder = tmp_path_factory.mktemp(kind)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = AutoModelForCausalLM.from_config(config)
                for parameter in model.parameters():
                    nn.init.normal_(parameter, std=0.3)
            model.save_pretrained(folder)
            made[key] = str(folder)
        return made[key]

    return make


def path_of(
    folders: Sequence[str], target: str = "stream", scales: Sequence[float] = SCALES
) -> Recipe:
    hops = [Hop(folders[m], layer, s) for (m, layer), s in zip(PLACES, scales, strict=True)]
    return make_path(hops, input_scale_target=target)


def pair(member: Make, kind: str, epsilon: float | None = None, **second: Any) -> list[str]:
    own = {} if epsilon is None else {EPSILONS.get(kind, "rms_norm_eps"): epsilon}
    return [member(kind, 1, 3, **own), member(kind, 2, 5, **own, **second)]


@pytest.mark.parametrize("target", ["stream", "delta"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_an_epsilon_a_baked_folder_is_its_path(
    member: Make, tmp_path: Path, kind: str, target: str
) -> None:
    folders = pair(member, kind, 0.0)
    folder = merge(path_of(folders, target), tmp_path / "out")
    _, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    assert not [*folder.glob("*.py")]
    found = measure_drift(path_of(folders, target), folder)
    assert found.largest < 1e-5
    assert found.typical <= found.largest
    assert found.tokens == ROWS * LONGEST
    assert found.same >= found.tokens - 1  # logits may tie
    other = measure_drift(path_of(folders, target, SCALES[::-1]), folder)
    assert other.largest > 0.01


@pytest.mark.parametrize("target", ["stream", "delta"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_compact_folder_is_its_path_with_any_epsilon(
    member: Make, tmp_path: Path, kind: str, target: str
) -> None:
    path = path_of(pair(member, kind, 0.1), target)
    folder = merge(path, tmp_path / "out", compact=True)
    assert measure_drift(path, folder).largest < 2e-6


UNLIKE: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_theta": 100.0, "rms_norm_eps": 0.5, "intermediate_size": 12}),
    ("llama", {"num_key_value_heads": 1}),
    ("qwen2", {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 4}),
    ("gemma2", {"head_dim": 4, "attn_logit_softcapping": 2.0}),
    ("gemma3_text", {"rope_local_base_freq": 50.0, "num_key_value_heads": 1}),
    ("gpt_neox", {"rotary_pct": 1.0, "layer_norm_eps": 0.5}),
]


@pytest.mark.parametrize(("kind", "change"), UNLIKE)
def test_a_compact_folder_is_its_path_where_no_stock_configuration_holds_both(
    member: Make, tmp_path: Path, kind: str, change: dict[str, Any]
) -> None:
    path = path_of(pair(member, kind, **change))
    folder = merge(path, tmp_path / "out", compact=True)
    assert measure_drift(path, folder).largest < 2e-6
    alike = path_of(pair(member, kind))
    assert measure_drift(alike, folder).largest > 1e-4


def test_a_compact_folder_writes_what_its_path_would(member: Make, tmp_path: Path) -> None:
    path = path_of(pair(member, "qwen2", num_key_value_heads=1))
    folder = merge(path, tmp_path / "out", compact=True)
    live, compact = build_path(path, Models()), load_model(folder, trust=is_compact(folder))
    ids = torch.tensor([[5, 6, 7, 8]])
    written = compact.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    for end in range(ids.shape[1], written.shape[1]):
        with torch.inference_mode():
            logits = live(input_ids=written[:, :end], use_cache=False).logits
        assert logits[0, -1].argmax() == written[0, end]


def test_delta_is_exact_with_any_epsilon_and_a_stream_is_not(member: Make, tmp_path: Path) -> None:
    found = {}
    for target in ("stream", "delta"):
        path = path_of(pair(member, "llama", 0.1), target)
        found[target] = measure_drift(path, merge(path, tmp_path / target)).largest
    assert found["delta"] < 2e-6
    assert found["stream"] > 1e-3


def test_an_mlp_that_is_no_module_of_its_own_is_scaled_too(member: Make, tmp_path: Path) -> None:
    path = path_of([member("opt", 1, 3), member("opt", 2, 5)], "delta")
    for compact in (False, True):
        folder = merge(path, tmp_path / f"compact {compact}", compact=compact)
        assert measure_drift(path, folder).largest < 2e-6
        flat = path_of([member("opt", 1, 3), member("opt", 2, 5)], scales=[1.0] * len(SCALES))
        assert measure_drift(flat, folder).largest > 0.01


@pytest.mark.parametrize("target", ["stream", "delta"])
@pytest.mark.parametrize(
    ("ties", "written"),
    [
        ((True, True, True), True),
        ((True, False, True), True),
        ((True, True, False), False),
        ((False, True, True), False),
        ((False, True, False), False),
    ],
)
def test_a_path_that_ends_in_another_model_has_the_head_that_its_folder_has(
    member: Make, tmp_path: Path, target: str, ties: Sequence[bool], written: bool
) -> None:
    """A folder whose ends are tied keeps one embedding: the first's, unless a scale parts them."""
    models = [
        member("llama", seed, 3, rms_norm_eps=0.0, tie_word_embeddings=tied)
        for seed, tied in enumerate(ties)
    ]
    for first in (1.0, 1.2):
        hops = [Hop(models[0], 0, first), Hop(models[1], 1, 0.8), Hop(models[2], 2, 1.1)]
        path = make_path(hops, input_scale_target=target)
        folder = merge(path, tmp_path / f"{first}")
        assert measure_drift(path, folder).largest < 1e-5
        tied = json.loads((folder / "config.json").read_text())["tie_word_embeddings"]
        assert tied == (written and (target == "stream" or first == 1.0))


def test_a_merge_on_the_path_is_part_of_it(member: Make, tmp_path: Path) -> None:
    first, second = member("llama", 1, 3), member("llama", 3, 3)
    halves = [{"model": m, "parameters": {"weight": 0.5}} for m in (first, second)]
    mixed, _ = parse_recipe({"merge_method": "linear", "models": halves})
    path = make_path([Hop(first, 0), Hop(mixed, 1, 0.8), Hop(first, 2, 1.1)])
    assert measure_drift(path, merge(path, tmp_path / "out")).largest < 1e-3


def test_the_same_seed_reads_the_same_and_another_does_not(member: Make, tmp_path: Path) -> None:
    path = path_of(pair(member, "llama", 0.01))
    folder = merge(path, tmp_path / "out")
    first, again, other = (measure_drift(path, folder, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.typical != other.typical
    assert first.prompts == "random texts (seed 3)"


def test_prompts_are_read_where_there_are_some(tmp_path: Path) -> None:
    layers = [("zoo:reverse", 0), ("zoo:sort", 1), ("zoo:reverse", 3)]
    path = make_path([Hop(model, layer, 1.1) for model, layer in layers], dtype="float32")
    folder = merge(path, tmp_path / "out")
    found = measure_drift(path, folder, texts=["reverse abc =", "", "sort cab ="])
    assert found.prompts == "prompts of the run"
    assert 0 < found.tokens < 40
    assert found.same == found.tokens


def item(**fields: Any) -> Item:
    return Item("key", "task", fields)


def test_prompts_are_what_the_tasks_ask_one_task_after_another() -> None:
    asked = [item(prompt="a", target="long answer"), item(text="b"), item(x=1, y="c", z="cc")]
    first = Task("first", ExactMatch(), {"validation": tuple(asked)}, 1.0, "1")
    many = tuple(item(question=str(number)) for number in range(20))
    second = Task("second", ExactMatch(), {"validation": many}, 1.0, "2")
    assert collect_texts([first, second]) == ["a", "0", "b", "1", "cc", "2", "3", "4"]
    assert collect_texts([Task("none", ExactMatch(), {"validation": (item(x=1),)}, 1.0, "3")]) == []


def test_what_is_no_number_is_stored_as_nothing_and_warned_about() -> None:
    broken = Drift(float("nan"), 0.5, 1, 2, "prompts of the run")
    assert not broken.small
    assert broken.to_values() == {
        "largest": None,
        "typical": 0.5,
        "same": 1,
        "tokens": 2,
        "prompts": "prompts of the run",
    }
